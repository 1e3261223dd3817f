"""kafka-python, 2.0.2 and 3.x, which share the consumer's and producer's face but not the admin's."""

import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.structs import OffsetAndMetadata

from scenario import CODECS, Lacks, Record, Scenario, arguments, check, header_of, until

MODERN = int(kafka.__version__.split(".")[0]) >= 3
# A poll of 3.0.12 that ends while it joins the group loses the assignment: the join goes on behind it, nobody takes its
# outcome, and the polls after it send nothing more. So a poll must last longer than a join.
POLL_MS = 2000 if MODERN else 100


class KafkaPython:
    def __init__(self, bootstrap, api_version):
        self.common = {"bootstrap_servers": bootstrap}
        if api_version:
            self.common["api_version"] = api_version
        self.old = bool(api_version)
        # The admin of 2.0.2 asks the broker for its versions whatever it is told.
        self.admin = KafkaAdminClient(**self.common)

    def create(self, topic, partitions, replicas, configs):
        if MODERN:
            spec = {"num_partitions": partitions, "replication_factor": replicas, "configs": configs}
            self.admin.create_topics({topic: spec})
        else:
            self.admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=configs)])

    def list(self):
        return self.admin.list_topics()

    def describe(self, topic):
        found = self.admin.describe_topics([topic])[0]
        partitions = len(found["partitions"])
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        if MODERN:
            entries = self.admin.describe_configs([resource], config_filter="all")["topic"][topic]
            return partitions, {name: entry["value"] for name, entry in entries.items()}
        if self.old:
            return partitions, None
        response = self.admin.describe_configs([resource])[0]
        return partitions, {entry[0]: entry[1] for entry in response.resources[0][4]}

    def alter(self, topic, key, value):
        if self.old:
            raise Lacks("the protocol of 0.10 has no such request")
        configs = {key: value}
        if not MODERN:
            configs["retention.ms"] = "3600000"  # AlterConfigs replaces the whole set
        response = self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
        if not MODERN:
            code, message = response.resources[0][:2]
            check(code == 0, "error %s: %s", code, message)

    def produce(self, topic, codec, records):
        producer = KafkaProducer(compression_type=None if codec == "none" else codec, acks="all", linger_ms=20, **self.common)
        try:
            sent = []
            for r in records:
                headers = {} if self.old else {"headers": [("n", r.header)]}
                sent.append(producer.send(topic, key=r.key, value=r.value, partition=0, timestamp_ms=r.ts, **headers))
            producer.flush(20)
            return [future.get(20).offset for future in sent]
        finally:
            producer.close()

    def consumer(self, group=None):
        return KafkaConsumer(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=250,
                             heartbeat_interval_ms=300, session_timeout_ms=6000, **self.common)

    @staticmethod
    def poll(consumer, most=None):
        out = []
        for records in consumer.poll(timeout_ms=POLL_MS, max_records=most).values():
            for r in records:
                ts = r.timestamp
                out.append(Record(r.offset, r.key, r.value, header_of(r.headers), ts))
        return out

    def read(self, topic, start, count):
        consumer = self.consumer()
        try:
            tp = TopicPartition(topic, 0)
            consumer.assign([tp])
            consumer.seek(tp, start)
            got = []
            until(20, lambda: got.extend(self.poll(consumer, count - len(got))) or len(got) >= count, "%s records", got)
            return got
        finally:
            consumer.close()

    def rebalance(self, group, topic, settle):
        members = []

        def poll():
            for member in members:
                self.poll(member)
            return [len(member.assignment()) for member in members]

        def join():
            members.append(self.consumer(group))
            members[-1].subscribe([topic])

        try:
            join()
            settle(poll, 4)
            # A rebalance needs both members to poll at once and 2.0.2 blocks while it joins, so each needs its own thread.
            second = Member(self.consumer(group), topic)
            try:
                settle(lambda: poll() + [second.held], 2, 2)
            finally:
                second.stop()
            settle(poll, 4)
        finally:
            for member in members:
                member.close()

    def consume_and_commit(self, group, topic, count):
        consumer = self.consumer(group)
        try:
            consumer.subscribe([topic])
            got = []
            until(20, lambda: got.extend(self.poll(consumer)) or len(got) >= count, "%s records", got)
            meta = OffsetAndMetadata(count, "", -1) if MODERN else OffsetAndMetadata(count, "")
            consumer.commit({TopicPartition(topic, 0): meta})
        finally:
            consumer.close()

    def resume(self, group, topic):
        consumer = self.consumer(group)
        try:
            consumer.subscribe([topic])
            return until(20, lambda: self.poll(consumer), "no record")[0].offset
        finally:
            consumer.close()

    def offset_at(self, topic, ts):
        if self.old:
            raise Lacks("the client looks up times from its 0.10.1 on")
        consumer = self.consumer()
        try:
            tp = TopicPartition(topic, 0)
            return consumer.offsets_for_times({tp: ts})[tp].offset
        finally:
            consumer.close()

    def committed(self, group, topic):
        tp = TopicPartition(topic, 0)
        if MODERN:
            listed = [g["group_id"] for g in self.admin.list_groups()]
            state = self.admin.describe_groups([group])[group]["group_state"]
            offsets = self.admin.list_group_offsets(group)[group]
        else:
            listed = [name for name, _ in self.admin.list_consumer_groups()]
            state = self.admin.describe_consumer_groups([group])[0].state
            offsets = self.admin.list_consumer_group_offsets(group, partitions=[tp])
        check(group in listed, "listed %s", listed)
        check(state == "Empty", "group is %s", state)
        return offsets[tp].offset

    def remove(self, topic):
        self.admin.delete_topics([topic])


class Member:
    """A member that polls in its own thread."""

    def __init__(self, consumer, topic):
        import threading

        self.consumer, self.held, self.ended = consumer, 0, False
        consumer.subscribe([topic])
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended:
            self.consumer.poll(timeout_ms=POLL_MS)
            self.held = len(self.consumer.assignment())
            time.sleep(0.01)
        self.consumer.close()

    def stop(self):
        self.ended = True
        self.thread.join(20)


def main():
    options, bootstrap, prefix, t0, fixture, replicas = arguments()
    pinned = [o.split("=")[1] for o in options if o.startswith("--api-version=")]
    version = tuple(int(n) for n in pinned[0].split(".")) if pinned else None
    codecs = CODECS[:4] if version else CODECS  # zstd came with 2.1
    Scenario(KafkaPython(bootstrap, version), prefix, t0, fixture, replicas, codecs, headers=not version).run()


main()
