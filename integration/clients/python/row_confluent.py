"""confluent-kafka: librdkafka's newest release."""

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from scenario import Record, Scenario, arguments, check, header_of, until


class Confluent:
    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.common)

    def create(self, topic, partitions, replicas, configs):
        self.admin.create_topics([NewTopic(topic, partitions, replicas, config=configs)])[topic].result(20)

    def list(self):
        return self.admin.list_topics(timeout=20).topics

    def describe(self, topic):
        found = self.admin.list_topics(topic, timeout=20).topics[topic]
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result(20)
        return len(found.partitions), {name: entry.value for name, entry in entries.items()}

    def alter(self, topic, key, value):
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(20)

    def produce(self, topic, codec, records):
        producer = Producer({**self.common, "compression.type": codec, "linger.ms": 20, "enable.idempotence": True})
        offsets, errors = [], []

        def delivered(error, message):
            errors.append(error) if error else offsets.append(message.offset())

        for r in records:
            producer.produce(topic, value=r.value, key=r.key, partition=0, timestamp=r.ts, headers=[("n", r.header)],
                             on_delivery=delivered)
        producer.flush(20)
        check(not errors, "%s", errors)
        return offsets

    def consumer(self, group):
        return Consumer({**self.common, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                         "session.timeout.ms": 6000, "heartbeat.interval.ms": 300, "fetch.wait.max.ms": 250,
                         "partition.assignment.strategy": "range"})

    @staticmethod
    def poll(consumer, most=500):
        out = []
        for m in consumer.consume(most, 0.1):
            check(m.error() is None, "%s", m.error())
            out.append(Record(m.offset(), m.key(), m.value(), header_of(m.headers()), m.timestamp()[1]))
        return out

    def read(self, topic, start, count):
        consumer = self.consumer("reader")
        try:
            consumer.assign([TopicPartition(topic, 0, start)])
            got = []
            until(20, lambda: got.extend(self.poll(consumer, count - len(got))) or len(got) >= count, "%s records", got)
            return got
        finally:
            consumer.close()

    def rebalance(self, group, topic, settle):
        first, second = self.consumer(group), self.consumer(group)
        members = [first]

        def poll():
            for member in members:
                self.poll(member)
            return [len(member.assignment()) for member in members]

        try:
            first.subscribe([topic])
            settle(poll, 4)
            second.subscribe([topic])
            members.append(second)
            settle(poll, 2, 2)
            members.pop()
            second.close()
            settle(poll, 4)
        finally:
            first.close()

    def consume_and_commit(self, group, topic, count):
        consumer = self.consumer(group)
        try:
            consumer.subscribe([topic])
            got = []
            until(20, lambda: got.extend(self.poll(consumer)) or len(got) >= count, "%s records", got)
            consumer.commit(offsets=[TopicPartition(topic, 0, count)], asynchronous=False)
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
        consumer = self.consumer("times")
        try:
            return consumer.offsets_for_times([TopicPartition(topic, 0, ts)], timeout=20)[0].offset
        finally:
            consumer.close()

    def committed(self, group, topic):
        listed = [g.group_id for g in self.admin.list_consumer_groups().result(20).valid]
        check(group in listed, "listed %s", listed)
        described = self.admin.describe_consumer_groups([group])[group].result(20)
        check(described.state.name == "EMPTY", "group is %s", described.state)
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
        return self.admin.list_consumer_group_offsets([asked])[group].result(20).topic_partitions[0].offset

    def remove(self, topic):
        self.admin.delete_topics([topic])[topic].result(20)


def main():
    _, bootstrap, prefix, t0, fixture, replicas = arguments()
    Scenario(Confluent(bootstrap), prefix, t0, fixture, replicas).run()


main()
