"""Work: what Spark is at, as its own status store knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Work:
    """How much was read, and how many of the tasks of the stages at work are done."""

    read: int  # rows of what MongoDB answers
    done: int
    tasks: int
    is_reading: bool  # else it works on what was read, or is about to


class Watch:
    """Adds up what the jobs read that are seen at work from now on.

    A task tells what it has read with each heartbeat of its executor, and when it ends.
    """

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self.stages: set[int] = set()

    def look(self) -> Work:
        context: Any = self.spark.sparkContext
        tracker, store = context.statusTracker(), context._jsc.sc().statusStore()
        for job in tracker.getActiveJobsIds():
            if info := tracker.getJobInfo(job):
                self.stages.update(info.stageIds)
        stages = [store.lastStageAttempt(number) for number in self.stages]
        active = [it for it in stages if it.status().name() == "ACTIVE"]
        read = sum(it.inputRecords() for it in stages)
        shuffled = sum(it.shuffleReadRecords() for it in active)
        return Work(
            read=read,
            done=sum(it.numCompleteTasks() for it in active),
            tasks=sum(it.numTasks() for it in active),
            is_reading=not shuffled if active else not read,
        )
