"""All tables, by concern, over one connection. What they take and return are typed values."""

from busmon.ledger.absences import AbsentMessages
from busmon.ledger.acceptances import Acceptances
from busmon.ledger.archive import ArchiveSums
from busmon.ledger.batch import Numbers, WriteBatch
from busmon.ledger.blind_times import BlindTimes
from busmon.ledger.buses import Buses
from busmon.ledger.clock import Clock
from busmon.ledger.connection import Connection
from busmon.ledger.counters import Counters
from busmon.ledger.coverage import ObserverCoverage
from busmon.ledger.delays import Delays
from busmon.ledger.differences import Differences
from busmon.ledger.filled import Filled
from busmon.ledger.gaps import Gaps
from busmon.ledger.hourly import HourlySums
from busmon.ledger.incidents import Incidents
from busmon.ledger.listener import ListenerCounts
from busmon.ledger.messages import Messages
from busmon.ledger.open_messages import OpenMessages
from busmon.ledger.search import Search
from busmon.ledger.service_levels import ServiceLevels
from busmon.ledger.shares import Shares
from busmon.ledger.silence import SilenceRecord
from busmon.ledger.subjects import Subjects
from busmon.ledger.tap_reports import TapReports
from busmon.ledger.taps import Taps
from busmon.ledger.tasks import Tasks
from busmon.ledger.topics import Topics
from busmon.ledger.windows import Windows


class Tables:
    """The tables of a ledger, for as long as its connection is open."""

    def __init__(self, db: Connection) -> None:
        self.buses = Buses(db)
        self.counters = Counters(db)
        self.messages = Messages(db)
        self.coverage = ObserverCoverage(db)
        self.blind_times = BlindTimes(db)
        self.hourly_sums = HourlySums(db)
        self.archive_sums = ArchiveSums(db)
        self.differences = Differences(db)
        self.silence = SilenceRecord(db)
        self.tap_reports = TapReports(db)
        self.taps = Taps(db)
        self.tasks = Tasks(db)
        self.listener = ListenerCounts(db)
        self.windows = Windows(db)
        self.open_messages = OpenMessages(db)
        self.delays = Delays(db)
        self.incidents = Incidents(db)
        self.service_levels = ServiceLevels(db)
        self.gaps = Gaps(db)
        self.filled = Filled(db)
        self.absences = AbsentMessages(db)
        self.acceptances = Acceptances(db)
        self.shares = Shares(db)
        self.subjects = Subjects(db)
        self.search = Search(db)
        self.clock = Clock(db)
        self.topics = Topics(db)
        self._db = db

    def batch(self, numbers: Numbers) -> WriteBatch:
        """Return a batch of messages to be recorded in this transaction."""
        return WriteBatch(self._db, numbers)
