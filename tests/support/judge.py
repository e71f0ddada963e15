"""Somebody who knows of an account what its change events tell, and nothing of how changes are detected.

The judge applies the events, as they come, to what the first scan told, and compares with the account itself. An event
that says something that was not, or says it twice under two ids, does not fit what was told before it; one that is
missing leaves the judge behind the account.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Judge:
    """What somebody knows who has the first scan and every event since.

    Attributes
    ----------
    users
        By user_id, the attributes that are known; none of a user whom the first scan has lost.
    gone
        The user_ids of those who were deleted.
    """

    users: dict[str, dict[str, Any]]
    gone: set[str] = field(default_factory=set)

    def hear(self, told: dict[str, Any], there: Collection[str]) -> None:
        """Take an event that was not heard before.

        Parameters
        ----------
        told
            Its detail.
        there
            The user_ids of those who are users of the account now.

        Raises
        ------
        AssertionError
            It does not fit.
        """
        user_id, before, after = told["user_id"], told["before"], told["after"]
        match told["change"]:
            case "created":
                self._enters(user_id, after)
            case "deleted":
                self._leaves(user_id, before, there)
            case "recreated":
                assert before["user_name"] == after["user_name"], f"recreated under another name: {told}"
                self._leaves(before["user_id"], before, there)
                self._enters(user_id, after)
            case "renamed" | "changed":
                known = self.users[user_id]
                renamed = "user_name" in told["attributes"]
                assert renamed == (told["change"] == "renamed"), f"{told['change']}: {told['attributes']}"
                assert told["attributes"] or told["findings_opened"] or told["findings_closed"], f"nothing in {told}"
                for name in told["attributes"]:
                    was = known.get(name, before[name])
                    assert was == before[name], f"{name} of {user_id} was told as {was!r} before, now as {before[name]}"
                    assert before[name] != after[name], f"{name} of {user_id} has not changed"
                    known[name] = after[name]
            case "scan_completed":
                pass
            case other:
                assert other == "mass_deletion_suspected", f"what is {other}?"

    def _enters(self, user_id: str, after: dict[str, Any]) -> None:
        assert user_id not in self.users, f"{user_id} was told of before"
        assert user_id not in self.gone, f"{user_id} was told to be gone"
        self.users[user_id] = dict(after)

    def _leaves(self, user_id: str, before: dict[str, Any], there: Collection[str]) -> None:
        assert user_id not in there, f"{user_id} is told to be gone, and is there"
        assert user_id in self.users, f"{user_id} is told to be gone, and was not told of, or is gone already"
        known = self.users.pop(user_id)
        name = known.get("user_name", before["user_name"])
        assert name == before["user_name"], f"{user_id} was {name}, not {before['user_name']}"
        self.gone.add(user_id)
