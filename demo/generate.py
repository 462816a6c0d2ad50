"""The guide's situation at any size: documents as the broken and the mended flow leave them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from random import Random

from bson import ObjectId
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from demo.ingest import Document, Ingest, new_event, new_session
from demo.shop import traits, walk

SESSIONS = 45_291
SEED = 20_251_020
GUIDE_EVENTS, GUIDE_BROKEN, GUIDE_ORPHANS = 320_410, 12_545, 302

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
OPENS = datetime(2025, 10, 6, tzinfo=timezone.utc)
DAYS = 28
INCIDENT = (  # the bad release and its rollback: most sessions in between are broken
    datetime(2025, 10, 16, 9, 20, tzinfo=timezone.utc),
    datetime(2025, 10, 24, 18, 40, tzinfo=timezone.utc),
)
BROKEN_OUTSIDE = 0.03  # share of the broken sessions that broke before or after the incident
HOUR_WEIGHTS = (4, 2, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 7, 9, 8, 8, 9, 10, 11, 11, 9, 6)
WEEKDAY_WEIGHTS = (9, 9, 9, 10, 11, 13, 12)  # Monday first
SESSIONS_PER_USER = 3.2
BATCH = 20_000  # documents to shuffle and send at once: some 20 MB


@dataclass(frozen=True)
class Figures:
    """How many documents of each sort the generated database holds."""

    sessions: int
    events: int
    empty: int  # no pages and no count: broken and orphans together
    broken: int  # empty although their events exist
    orphans: int  # empty without any event

    @classmethod
    def of(cls, sessions: int) -> Figures:
        """The guide's proportions; none is 0 unless there are too few sessions for it."""
        if sessions < 1:
            raise ValueError(f"sessions must be 1 or more, not {sessions}")
        share = sessions / SESSIONS
        orphans = max(1, round(GUIDE_ORPHANS * share)) if sessions > 1 else 0
        broken = max(1, round(GUIDE_BROKEN * share))
        events = round(GUIDE_EVENTS * share)
        return cls(sessions, events, broken + orphans, broken, orphans)


@dataclass(frozen=True)
class Visit:
    """One session before it is stored: how it starts, its events in order, its luck."""

    start: Document
    events: list[Document]
    is_broken: bool

    def session(self) -> Document:
        """The session as ingest leaves it after the last event."""
        if self.is_broken or not self.events:
            return self.start
        timestamps = [event["timestamp"] for event in self.events]
        pages = (event["page"] for event in self.events if "page" in event)
        return {
            **self.start,
            "event_count": len(self.events),
            "first_event_at": min(timestamps),
            "last_event_at": max(timestamps),
            "pages": list(dict.fromkeys(pages)),
        }

    def replay(self, ingest: Ingest) -> None:
        """The same visit through the flow itself, event by event."""
        start = self.start
        self_made = new_session(start["session_id"], start["user_id"], EPOCH, "")
        ingest.ensure_browsing_session(
            start["session_id"],
            start["user_id"],
            start["first_event_at"],
            start["client_id"],
            {name: value for name, value in start.items() if name not in self_made},
        )
        for event in self.events:
            ingest.ingest_event(dict(event))


def generate(
    db: Database[Document],
    sessions: int = SESSIONS,
    seed: int = SEED,
    progress: Callable[[int], None] = lambda done: None,
) -> Figures:
    """Fills `sessions` and `events` of an empty database; the same seed, the same documents.

    `progress` is told after each batch how many sessions are stored.
    """
    loose = WriteConcern(w=1)  # a lost load is simply repeated
    into_sessions = db.get_collection("sessions", write_concern=loose)
    into_events = db.get_collection("events", write_concern=loose)
    order = Random(seed + 1)
    done = 0
    for batch in _batches(visits(sessions, seed)):
        events = [event for visit in batch for event in visit.events]
        order.shuffle(events)
        into_sessions.insert_many([visit.session() for visit in batch], ordered=False)
        if events:
            into_events.insert_many(events, ordered=False)
        done += len(batch)
        progress(done)
    into_sessions.create_index("session_id")
    into_events.create_index("session_id")
    return Figures.of(sessions)


def visits(sessions: int = SESSIONS, seed: int = SEED) -> Iterator[Visit]:
    """Every visit, in an order that has nothing to do with time."""
    rng = Random(seed)
    figures = Figures.of(sessions)
    ids = _Ids(rng)
    users = _users(rng, ids, max(1, round(sessions / SESSIONS_PER_USER)))
    starts = _starts(rng, sessions)
    orphans = set(rng.sample(range(sessions), figures.orphans))
    broken = _broken(rng, starts, orphans, figures.broken)
    lengths = iter(_lengths(rng, sessions - figures.orphans, figures.events))
    for number, start_ms in enumerate(starts):
        length = 0 if number in orphans else next(lengths)
        user = users[int(len(users) * rng.random() ** 2)]  # few come often, many come once
        yield _visit(rng, ids, user, start_ms, length, number in broken)


class _Ids:
    """ObjectIds that carry a given time, grow from one to the next within it, never repeat."""

    def __init__(self, rng: Random) -> None:
        self._next = rng.getrandbits(63)

    def at(self, ms: int) -> ObjectId:
        """A new id whose time is that second."""
        self._next += 1
        return ObjectId((ms // 1000).to_bytes(4, "big") + self._next.to_bytes(8, "big"))


def _visit(
    rng: Random, ids: _Ids, user: ObjectId, start_ms: int, length: int, is_broken: bool
) -> Visit:
    session_id = str(ids.at(start_ms))
    client_id = f"client_{str(user)[-6:]}"
    start = new_session(session_id, user, _date(start_ms), client_id, traits(rng))
    events = []
    now_ms = start_ms
    for page, event_type, properties, pause_ms in walk(rng, length) if length else ():
        now_ms += pause_ms
        events.append(
            new_event(
                *(ids.at(now_ms), user, session_id, _date(now_ms)),
                *(page, event_type, properties, client_id),
            )
        )
    return Visit(start, events, is_broken)


def _users(rng: Random, ids: _Ids, count: int) -> list[ObjectId]:
    """Users who signed up within the year before the shop's first day here."""
    opens_ms = _ms(OPENS)
    year_ms = 365 * 86_400_000
    return [ids.at(opens_ms - int(rng.random() * year_ms)) for _ in range(count)]


def _starts(rng: Random, count: int) -> list[int]:
    """When each session starts, in ms: busy evenings and weekends, quiet nights."""
    days = [OPENS + timedelta(days=day) for day in range(DAYS)]
    day_weights = [WEEKDAY_WEIGHTS[day.weekday()] for day in days]
    day_of = rng.choices([_ms(day) for day in days], day_weights, k=count)
    hour_of = rng.choices(range(24), HOUR_WEIGHTS, k=count)
    return [
        day + hour * 3_600_000 + int(rng.random() * 3_600_000)
        for day, hour in zip(day_of, hour_of, strict=True)
    ]


def _broken(rng: Random, starts: list[int], orphans: set[int], count: int) -> set[int]:
    """The numbers of the broken sessions: almost all from the incident."""
    begins, ends = map(_ms, INCIDENT)
    inside: list[int] = []
    outside: list[int] = []
    for number, start_ms in enumerate(starts):
        if number not in orphans:
            (inside if begins <= start_ms < ends else outside).append(number)
    rng.shuffle(inside)
    rng.shuffle(outside)
    strays = max(round(count * BROKEN_OUTSIDE), count - len(inside))
    return {*outside[:strays], *inside[: count - min(strays, len(outside))]}


def _lengths(rng: Random, sessions: int, events: int) -> list[int]:
    """Events of each session: 1 or more, skewed, and exactly so many together."""
    if sessions == 0:
        return []
    mean = events / sessions
    lengths = [1 + int(rng.expovariate(1 / (mean - 0.5))) for _ in range(sessions)]
    missing = events - sum(lengths)
    while missing:
        number = rng.randrange(sessions)
        if missing > 0:
            lengths[number] += 1
            missing -= 1
        elif lengths[number] > 1:
            lengths[number] -= 1
            missing += 1
    return lengths


def _batches(visits: Iterator[Visit]) -> Iterator[list[Visit]]:
    batch: list[Visit] = []
    size = 0
    for visit in visits:
        batch.append(visit)
        size += 1 + len(visit.events)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def _date(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)
