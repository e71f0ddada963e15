"""Logs what an event bus will never take: not where the bus is, which the operator's command has without a logger."""

from functions.shared.bus import Refusal
from functions.shared.step import logger


def log_refusal(refusal: Refusal) -> None:
    """Log an event that will never be taken."""
    logger.error(
        "EventBridge will never take this event; it is lost as an event, not from the records",
        error_type=refusal.code,
        error_message=refusal.message,
        detail_type=refusal.detail_type,
        event_id=refusal.event_id,
    )
