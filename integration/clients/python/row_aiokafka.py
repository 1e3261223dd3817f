"""aiokafka, driven from the scenario's one thread through its own event loop."""

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from scenario import Record, Scenario, arguments, check, header_of


class AioKafka:
    def __init__(self, bootstrap):
        self.common = {"bootstrap_servers": bootstrap}
        self.loop = asyncio.new_event_loop()
        self.admin = self.do(self.start_admin())

    def do(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 25))

    def close(self):
        self.do(self.admin.close())

    async def start_admin(self):
        admin = AIOKafkaAdminClient(**self.common)
        await admin.start()
        return admin

    def create(self, topic, partitions, replicas, configs):
        response = self.do(self.admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=configs)]))
        check(response.topic_errors[0][1] == 0, "%s", response)

    def list(self):
        return self.do(self.admin.list_topics())

    def describe(self, topic):
        found = self.do(self.admin.describe_topics([topic]))[0]
        response = self.do(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0]
        return len(found["partitions"]), {entry[0]: entry[1] for entry in response.resources[0][4]}

    def alter(self, topic, key, value):
        configs = {key: value, "retention.ms": "3600000"}  # AlterConfigs replaces the whole set
        response = self.do(self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)]))[0]
        check(response.resources[0][0] == 0, "%s", response)

    def produce(self, topic, codec, records):
        async def send():
            producer = AIOKafkaProducer(compression_type=None if codec == "none" else codec, acks="all", linger_ms=20,
                                        enable_idempotence=True, **self.common)
            await producer.start()
            try:
                sent = []
                for r in records:
                    sent.append(await producer.send(topic, r.value, r.key, 0, r.ts, headers=[("n", r.header)]))
                return [metadata.offset for metadata in await asyncio.gather(*sent)]
            finally:
                await producer.stop()

        return self.do(send())

    @contextlib.asynccontextmanager
    async def consumer(self, *topics, group=None):
        consumer = AIOKafkaConsumer(*topics, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                                    fetch_max_wait_ms=250, heartbeat_interval_ms=300, session_timeout_ms=6000, **self.common)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    @staticmethod
    def seen(r):
        return Record(r.offset, r.key, r.value, header_of(r.headers), r.timestamp)

    def read(self, topic, start, count):
        async def go():
            async with self.consumer() as consumer:
                tp = TopicPartition(topic, 0)
                consumer.assign([tp])
                consumer.seek(tp, start)
                return [self.seen(await consumer.getone()) for _ in range(count)]

        return self.do(go())

    def rebalance(self, group, topic, settle):
        """Members of aiokafka rebalance in the background, while the loop runs."""
        members = []

        def poll():
            self.do(asyncio.sleep(0.05))
            return [len(member.assignment()) for member in members]

        def join():
            context = self.consumer(topic, group=group)
            members.append(self.do(context.__aenter__()))
            return context

        first = join()
        try:
            settle(poll, 4)
            second = join()
            try:
                settle(poll, 2, 2)
            finally:
                members.pop()
                self.do(second.__aexit__(None, None, None))
            settle(poll, 4)
        finally:
            self.do(first.__aexit__(None, None, None))

    def consume_and_commit(self, group, topic, count):
        async def go():
            async with self.consumer(topic, group=group) as consumer:
                for _ in range(count):
                    await consumer.getone()
                await consumer.commit({TopicPartition(topic, 0): count})

        self.do(go())

    def resume(self, group, topic):
        async def go():
            async with self.consumer(topic, group=group) as consumer:
                return (await consumer.getone()).offset

        return self.do(go())

    def offset_at(self, topic, ts):
        async def go():
            async with self.consumer() as consumer:
                tp = TopicPartition(topic, 0)
                return (await consumer.offsets_for_times({tp: ts}))[tp].offset

        return self.do(go())

    def committed(self, group, topic):
        listed = [g[0] for g in self.do(self.admin.list_consumer_groups())]
        check(group in listed, "listed %s", listed)
        described = self.do(self.admin.describe_consumer_groups([group]))[0].groups[0]
        check(described[2] == "Empty", "group is %s", described)
        tp = TopicPartition(topic, 0)
        return self.do(self.admin.list_consumer_group_offsets(group, partitions=[tp]))[tp].offset

    def remove(self, topic):
        response = self.do(self.admin.delete_topics([topic]))
        check(response.topic_error_codes[0][1] == 0, "%s", response)


def main():
    _, bootstrap, prefix, t0, fixture, replicas = arguments()
    client = AioKafka(bootstrap)
    try:
        Scenario(client, prefix, t0, fixture, replicas).run()
    finally:
        client.close()


main()
