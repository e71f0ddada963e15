"""The accounts of the organization: when each was scanned last, and what became of it in the run of all."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from functions.cli.deployment import Deployment
from functions.cli.output import Columns, Shown
from functions.cli.scope import Account, listed_at, names_of, reader_of, side_by_side, unnamed_in
from functions.cli.words import duration, number
from functions.shared import timestamps
from functions.table.fleet import FailedAccount, Fleet, SkippedAccount
from functions.table.manifest import Status
from functions.table.reader import Reader, members
from functions.table.scans import RecordedScan, at

COLUMNS = Columns(
    ["account_id", "account_name", "status", "last_trusted_scan", "age", "users", "error"],
    ["account_id", "account_name", "status", "reason", "error_type", "error_message", "last_trusted_scan",
     "listed_from", "listed_until", "age_seconds", "users", "organization_run", "execution_arn"],
)  # fmt: skip

SKIPPED = "SKIPPED"
"""The run did not scan it, and says why."""
NOT_BEGUN = "NOT BEGUN"
"""The run was to scan it, and there is no sign of that."""
NOT_LISTED = "NOT LISTED"
"""The run did not know it: it has left the organization, or is scanned by hand."""


@dataclass
class Listing:
    """The accounts that are known at a moment.

    Attributes
    ----------
    fleet
        The run of the organization that has listed them, None where there is none.
    last
        The last run up to then, whether it has or not.
    """

    deployment: Deployment
    own: Reader
    moment: datetime
    fleet: Fleet | None = field(init=False)
    last: Fleet | None = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.fleet, self.last = listed_at(self.own, self.moment)
        self._skipped: Mapping[str, SkippedAccount] = _by_id(self.fleet.skipped if self.fleet else ())
        self._failed: Mapping[str, FailedAccount] = _by_id(self.fleet.failed if self.fleet else ())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, by the number of the account."""
        for _, row in side_by_side(self._accounts(), self._row):
            if row is not None:
                self.counts[row["status"] or "without a run"] += 1
                yield row

    def remarks(self) -> Iterator[str]:
        """Yield what is to be said beside the rows."""
        told = ", ".join(f"{count:,} {status}" for status, count in self.counts.most_common())
        yield f"{number(self.counts.total(), 'account')}{f': {told}' if told else ''}"
        if self.fleet is None:
            yield "no run of the organization has listed its accounts up to then: these are those with records"
        else:
            yield f"the run {self.fleet.scan_timestamp} of the organization is {self.fleet.status}"
            if unnamed := unnamed_in(self.fleet):
                yield unnamed
        if self.last is not None and self.last is not self.fleet:
            error = ": ".join(self.last.manifest.error or ())
            yield (
                f"a later one, {self.last.scan_timestamp}, is {self.last.status} and has not listed its accounts"
                f"{f': {error}' if error else ''}"
            )

    def _accounts(self) -> list[Account]:
        names = names_of(self.fleet)
        listed = frozenset(names)
        for account_id in (self.deployment.account, *members(self.own.dynamodb, self.own.table_name)):
            names.setdefault(account_id, None)
        return [
            Account(one, names[one], reader_of(self.deployment, self.own, one), one in listed) for one in sorted(names)
        ]

    def _row(self, account: Account) -> dict[str, Any] | None:
        scans = list(account.reader.scans(until=timestamps.to_seconds(self.moment)))
        if not scans and not account.listed:
            return None
        trusted = at(scans, self.moment)
        # Who is in no run has said its name to its scans, perhaps.
        names = (scan.manifest.account_name for scan in scans)
        age = self.moment - trusted.listing[1] if trusted is not None else None
        row = {
            "account_id": account.account_id,
            "account_name": account.name or next(filter(None, names), None),
            **self._fate(account, scans),
            "organization_run": self.fleet.scan_timestamp if self.fleet is not None else None,
        }
        if trusted is not None and age is not None:
            row |= {
                "last_trusted_scan": trusted.scan_timestamp,
                "listed_from": timestamps.to_seconds(trusted.listing[0]),
                "listed_until": timestamps.to_seconds(trusted.listing[1]),
                "age": duration(age),
                "age_seconds": int(age.total_seconds()),
                "users": trusted.records_written,
                "execution_arn": trusted.manifest.execution_arn,
            }
        else:
            row |= {"last_trusted_scan": Shown(None, "none")}
        return row

    def _fate(self, account: Account, scans: Iterable[RecordedScan]) -> dict[str, Any]:
        """Return what became of an account in the run."""
        if self.fleet is None:
            return {"status": None}
        if account.account_id in self._skipped:
            reason = self._skipped[account.account_id].reason
            return {"status": SKIPPED, "reason": reason, "error": reason}
        if not account.listed:
            return {"status": NOT_LISTED}
        timestamp = self.fleet.scan_timestamp
        scan = next((one for one in scans if one.scan_timestamp == timestamp), None)
        if scan is not None and scan.status is Status.COMPLETE:
            return {"status": str(Status.COMPLETE)}
        failed = self._failed.get(account.account_id)
        told = scan.manifest.error if scan is not None else None
        error = told or ((failed.error_type, failed.error_message) if failed is not None else None)
        status = scan.status if scan is not None else Status.FAILED if failed is not None else NOT_BEGUN
        if error is None:
            return {"status": str(status)}
        return {"status": str(status), "error_type": error[0], "error_message": error[1], "error": ": ".join(error)}


def _by_id(entries: Iterable[Any]) -> dict[str, Any]:
    return {one.account_id: one for one in entries}
