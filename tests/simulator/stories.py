"""Sequences that once broke a promise, told moment by moment: ``moment => what happens`` (see ``explore.Story``)."""

from tests.simulator.world import Setting

SETTING = Setting(3)
ANNOUNCED_SETTING = Setting(2, posture=True, changes=True)

KNOWN = {
    "late AcquireLock: its answer was lost, the retry completed the scan, then it wakes up": """
        X1.1 AcquireLock *_item* => X1.1 AcquireLock is given up before it *
    """,
    "late SaveProgress: its answer was lost, the retry completed the scan, then it wakes up": """
        X1.1 SaveProgress *_item* => X1.1 SaveProgress is given up before it *
    """,
    "late SaveProgress: the next page was saved before it wakes up": """
        X1.1 SaveProgress *_item* => X1.1 SaveProgress is given up before it *
        X1.1 ListUsers #3 begins =>> X1.1 SaveProgress *_item*
    """,
    "late SaveProgress after a stop and its CleanUp": """
        X1.1 SaveProgress *_item* => X1 is stopped
    """,
    "AcquireLock takes the lock after the stop, before CleanUp": """
        X1.1 AcquireLock *_item* => X1 is stopped
        the event of X1.1 =>> X1.1 AcquireLock *_item*
    """,
    "AcquireLock in flight when stopped, after CleanUp": """
        X1.1 AcquireLock *_item* => X1 is stopped
    """,
    "stopped, redriven, stopped again": """
        X1.1 WriteBatch #2 begins => X1 is stopped
        rest => X1 is redriven
        X1.2 ListUsers begins => X1 is stopped
    """,
    "late EmitMetrics: it completes the scan when the run was redriven already": """
        X1.1 EmitMetrics begins => X1.1 EmitMetrics is given up for good
        the event of X1.1 => X1 is redriven
        X1.2 AcquireLock get_item => X1.1 EmitMetrics begins
        X1.2 AcquireLock get_item => X1.1 EmitMetrics update_item
    """,
    "a redrive lands between CleanUp's checks and its writes": """
        X1.1 WriteBatch begins => X1 is stopped
        X1 CleanUp(1 ABORTED) [!gd]*_item* => X1 is redriven
        X1 CleanUp(1 ABORTED) * =>> X1.2 [WS]*
    """,
    "a redrive lands between CleanUp's check and its release of the lock": """
        X1.1 WriteBatch begins => X1 is stopped
        X1 CleanUp(1 ABORTED) delete_item => X1 is redriven
        X1 CleanUp(1 ABORTED) * =>> X1.2 [WS]*
    """,
    "ReleaseLock fails on a COMPLETE scan, which is redriven while another scan runs": """
        X1.1 ReleaseLock delete_item => X1.1 ReleaseLock is given up for good
        rest => another execution starts
        X2.1 ListUsers begins => X1 is redriven
        X2.1 ListUsers begins =>> X1.2 *
    """,
    "a restarted listing loses a record, and the run is redriven": """
        X1.1 ListUsers #3 list_users => a user is created
        X1.1 ListUsers #3 list_users => X1.1 ListUsers #3: IAM refuses the marker
        X1.1 WriteBatch #3 batch_write_item => X1.1 WriteBatch #3 is refused batch_write_item
    """,
    "the table throttles every write of the second page": """
        X1.1 WriteBatch #2 batch_write_item => X1.1 WriteBatch #2 is throttled to the end
    """,
    "a run is stopped while the table throttles, and redriven into it": """
        X1.1 WriteBatch #2 batch_write_item => X1 is stopped
        rest => X1 is redriven
        X1.2 WriteBatch batch_write_item => X1.2 WriteBatch is throttled to the end
    """,
    "retention_days is lowered while a scan runs": """
        X1.1 WriteBatch #2 begins => retention_days is lowered
    """,
    "EmitMetrics dies before it says the metrics": """
        X1.1 EmitMetrics emit => X1.1 EmitMetrics is cut off before emit
    """,
    "CleanUp is throttled in the middle": """
        X1.1 ListUsers begins => X1 is stopped
        X1 CleanUp(1 ABORTED) *e_item* => X1 CleanUp(1 ABORTED) is cut off before *
    """,
    "aborted, redriven, COMPLETE": """
        X1.1 WriteBatch begins => X1 is stopped
        rest => X1 is redriven
    """,
    "EmitMetrics is late: CleanUp recorded the end in its place": """
        X1.1 EmitMetrics begins => X1.1 EmitMetrics is given up for good
    """,
}

ANNOUNCED = {
    "PublishChanges dies before it sends its events": """
        X2.1 AcquireLock begins => a user is created
        X2.1 PublishChanges put_events => X2.1 PublishChanges is refused put_events
    """,
    "PublishChanges dies between its events and the cursor": """
        X2.1 AcquireLock begins => a user is created
        X2.1 PublishChanges transact_write_items => X2.1 PublishChanges is cut off before transact_write_items
    """,
    "late PublishChanges: the next scan was announced before it wakes up": """
        X2.1 PublishChanges transact_write_items => X2.1 PublishChanges is given up for good
        X2.1 PublishChanges transact_write_items => another execution starts
    """,
    "half announced, a scan is overtaken by one that began to list before it": """
        X2.1 AcquireLock begins => a user is created
        X2.1 ListUsers #2 begins => X2 is stopped
        rest => another execution starts
        X3.1 PublishChanges transact_write_items => X3.1 PublishChanges is refused transact_write_items
        rest => X2 is redriven
    """,
    "late PublishChanges: another scan is half announced when it plans its own": """
        X2.1 AcquireLock begins => a user is created
        X2.1 ListUsers #2 begins => X2 is stopped
        rest => another execution starts
        X3.1 PublishChanges update_item => X3.1 PublishChanges is given up for good
        X3.1 PublishChanges update_item => X2 is redriven
        X2.2 PublishChanges transact_write_items => X2.2 PublishChanges is refused transact_write_items
    """,
    "a user is renamed while the scan pages, and is on none of the pages": """
        X2.1 ListUsers #2 begins => the last user is renamed to a-renamed
    """,
    "the index is behind until the second try": """
        X2.1 AcquireLock begins => a user is created
        X2.1 WriteBatch begins => the index stands still
        X2.1 PublishChanges #2 begins => the index catches up
    """,
    "the clock of the first page is ahead": """
        X2.1 ListUsers begins => X2.1 ListUsers begins, its clock +0.4 s off
    """,
    "what an abandoned listing left is announced when its user was told to be gone": """
        X2.1 SaveProgress begins => the first user is deleted
        X2.1 SaveProgress begins => X2.1 SaveProgress is given up for good
        rest => another execution starts
        rest => X2 is redriven
    """,
}
"""Of what is told of changes, where a first scan, X1, was announced before."""
