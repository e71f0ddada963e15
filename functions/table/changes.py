"""Which facts of a user have changed between its records: only what both of them know.

A record that lacks the credential report, or has a stale one, or lacks the authorization details, says nothing of what
they would tell: neither that it is as it was nor that it is not. The next record that knows compares with the last one
that did, so that nothing is lost in between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from functions.table.facts import Knowledge, known
from functions.table.record import ATTRIBUTES, AUTHORIZATION, CREDENTIAL_REPORT, IN_SLOTS, LISTING, SLOTS
from functions.table.wire import Item

SECTIONS = (CREDENTIAL_REPORT, AUTHORIZATION)

_NAMES = {
    section: tuple(
        attribute.name
        for attribute in ATTRIBUTES
        if (attribute.section or LISTING) == section and attribute.name != "ttl"
    )
    for section in (LISTING, *SECTIONS)
}
"""The attributes of a section; with those of the listing go the scan's own."""
_LASTING = frozenset(
    attribute.name
    for attribute in ATTRIBUTES
    if not attribute.activity and (attribute.compared or attribute.name in {"user_name", "user_id"})
)
"""What stays the same from scan to scan, unless the user has changed."""
_WHOLE = {LISTING: "scan_timestamp", CREDENTIAL_REPORT: "credential_report_time"}
"""What a section has that holds mere use, too: what was kept without must not read as never used."""

_NAME = "user_name"
_COMPARED, _USE = (
    {
        section: tuple(
            attribute.name
            for attribute in ATTRIBUTES
            if attribute.section == section
            and attribute.activity is use
            and (use or attribute.compared or attribute.name == _NAME)
        )
        for section in (LISTING, *SECTIONS)
    }
    for use in (False, True)
)
"""By section, the attributes in which a user can change, and those that mere use changes."""
_ABSENT_IS_UNKNOWN = frozenset({"password_enabled", "mfa_active", "admin_via", "tags"})
"""What every user has. Where it is absent, it could not be told, or nobody had asked for tags."""

_IN_SLOTS = tuple(
    tuple(
        tuple(f"{kind}_{slot}_{attribute.name.removeprefix(first)}" for slot in SLOTS)
        for attribute in ATTRIBUTES
        if attribute.name.startswith(first)
    )
    for kind in IN_SLOTS
    if (first := f"{kind}_{SLOTS[0]}_")
)
"""For each kind of what is in a slot, the names of its attributes, in the one slot and in the other."""
_IDENTITY = "last_rotated"
"""Of what is in a slot: it tells one key from another, and no key is without."""
_IDENTITIES = tuple(next(pair for pair in names if pair[0].endswith(_IDENTITY)) for names in _IN_SLOTS)


@dataclass
class LastKnown:
    """For each section, the last record of a user that knew it."""

    _records: dict[str, Item] = field(default_factory=dict)

    def learn(self, record: Item) -> "LastKnown":
        """Take what a record knows; return this."""
        for section in (LISTING, *SECTIONS):
            if _knows(record, section):
                self._records[section] = record
        return self

    def copy(self) -> "LastKnown":
        """Return another one that knows the same."""
        return LastKnown(dict(self._records))

    def changes_to(self, record: Item, *, activity: bool = False) -> tuple[str, ...]:
        """Return which attributes are different in a later record of the user, its name first.

        Parameters
        ----------
        activity
            Whether mere use is a change, too.
        """
        different = {
            name
            for section, (base, later) in self._pairs(record).items()
            for name in (*_COMPARED[section], *(_USE[section] if activity and _WHOLE.get(section) in base else ()))
            if base.get(name) != later.get(name) and not (name in _ABSENT_IS_UNKNOWN and _one_lacks(name, base, later))
        }
        # Almost always there is none.
        return tuple(attribute.name for attribute in ATTRIBUTES if attribute.name in different) if different else ()

    def evidence(self, record: Item, attributes: Iterable[str]) -> tuple[Item, Item]:
        """Return what some attributes were and are in a later record, its keys in the slots in which they were."""
        pairs = self._pairs(record)
        before, after = {}, {}
        for attribute in ATTRIBUTES:
            if attribute.name in attributes and attribute.section in pairs:
                base, later = pairs[attribute.section]
                before[attribute.name], after[attribute.name] = base.get(attribute.name), later.get(attribute.name)
        return before, after

    def facts(self, *, whole: bool) -> Item:
        """Return all that is known, each section as it was last known; for ``whole`` see :meth:`to_plain`."""
        plain = self.to_plain(whole=whole)
        found = {name: value for section in plain.values() for name, value in section.items()}
        return {attribute.name: found[attribute.name] for attribute in ATTRIBUTES if attribute.name in found}

    @property
    def user_name(self) -> str:
        """The last name."""
        return str(self._records[LISTING][_NAME])

    @property
    def create_date(self) -> str:
        """When the user was created, ISO 8601."""
        return str(self._records[LISTING]["create_date"])

    def to_plain(self, *, whole: bool) -> dict[str, Item]:
        """Return this in what JSON can hold: by section, its attributes.

        Parameters
        ----------
        whole
            Whether what may differ without a change is in it: when it was seen and reported, and what was used when.
        """
        return {
            section: {name: record[name] for name in _NAMES[section] if name in record and (whole or name in _LASTING)}
            for section, record in self._records.items()
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Item]) -> "LastKnown":
        """Return what :meth:`to_plain` has made."""
        return cls(dict(plain))

    def _pairs(self, record: Item) -> dict[str, tuple[Item, Item]]:
        """Return, by the sections that both sides know, the last record and the later one."""
        return {
            section: (base, aligned(base, record) if section == CREDENTIAL_REPORT else record)
            for section, base in self._records.items()
            if _knows(record, section)
        }

    def unknown_in(self, record: Item) -> list[str]:
        """Return the sections of which this or the later record knows nothing current."""
        return [section for section in SECTIONS if section not in self._records or not _knows(record, section)]


def aligned(before: Item, after: Item) -> Item:
    """Return a later record with its access keys and certificates in the slots of the earlier one.

    A key is known by its creation; when another one is deleted, it may be found in the other slot.
    """
    for names, (first, second) in zip(_IN_SLOTS, _IDENTITIES, strict=True):
        # The same two, each where it was: exchanged, both would differ.
        in_place = before.get(first) == after.get(first) != after.get(second) == before.get(second)
        if not in_place and any(_distance(before, after, names)):
            after = min(after, _exchanged(after, names), key=lambda record: _distance(before, record, names))
    return after


def _exchanged(record: Item, names: tuple[tuple[str, ...], ...]) -> Item:
    other = {name: twin for first, second in names for name, twin in ((first, second), (second, first))}
    return {other.get(name, name): value for name, value in record.items()}


def _distance(before: Item, after: Item, names: tuple[tuple[str, ...], ...]) -> tuple[int, int]:
    """Return how many identities differ, and how many attributes: keys of one second differ in nothing else."""
    different = [name for pair in names for name in pair if before.get(name) != after.get(name)]
    return sum(name.endswith(_IDENTITY) for name in different), len(different)


def _one_lacks(name: str, before: Item, after: Item) -> bool:
    return not (name in before and name in after)


def _knows(record: Item, section: str) -> bool:
    return section == LISTING or known(record, section) is Knowledge.CURRENT
