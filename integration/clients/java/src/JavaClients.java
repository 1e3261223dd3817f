import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own Java clients in the matrix: BOOTSTRAP PREFIX T0 FIXTURE REPLICAS, one JSON line an operation. */
public final class JavaClients {
  private static final int RECORDS = 100;
  private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
  private static final Duration POLL = Duration.ofMillis(100);

  private final String bootstrap;
  private final String prefix;
  private final long t0;
  private final String fixture;
  private final short replicas;
  private final Admin admin;

  private interface Step {
    void run() throws Exception;
  }

  private JavaClients(String bootstrap, String prefix, long t0, String fixture, short replicas) {
    this.bootstrap = bootstrap;
    this.prefix = prefix;
    this.t0 = t0;
    this.fixture = fixture;
    this.replicas = replicas;
    this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "default.api.timeout.ms", t0 == 0 ? "300" : "20000",
        "request.timeout.ms", t0 == 0 ? "200" : "15000"));
  }

  public static void main(String[] args) {
    JavaClients row = new JavaClients(args[0], args[1], Long.parseLong(args[2]), args[3], Short.parseShort(args[4]));
    try (row.admin) {
      if (!row.step("create", row::create)) {
        return; // the rest would only wait for topics that never come
      }
      row.step("list", row::list);
      row.step("describe", row::describe);
      row.step("config", row::config);
      row.step("produce", row::produce);
      row.step("consume", row::consume);
      row.step("group", row::group);
      row.step("resume", row::resume);
      row.step("time", row::time);
      row.step("groups", row::groups);
      row.step("delete", row::delete);
    }
  }

  private boolean step(String op, Step step) {
    long start = System.nanoTime();
    String error = "";
    try {
      step.run();
    } catch (Throwable e) {
      error = e.toString();
      e.printStackTrace();
    }
    long ms = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
    String text = error.replace("\\", "\\\\").replace("\"", "'").replaceAll("\\s+", " ");
    System.out.printf("{\"op\":\"%s\",\"ok\":%b,\"ms\":%d,\"error\":\"%s\"}%n", op, error.isEmpty(), ms, text);
    return error.isEmpty();
  }

  private static void check(boolean holds, String format, Object... args) {
    if (!holds) {
      throw new IllegalStateException(String.format(format, args));
    }
  }

  private void create() throws Exception {
    List<NewTopic> topics = new ArrayList<>();
    topics.add(new NewTopic(prefix, Optional.of(4), Optional.empty()).configs(Map.of("retention.ms", "3600000")));
    topics.add(new NewTopic(prefix + "-group", 4, replicas));
    topics.add(new NewTopic(prefix + "-gone", 1, replicas));
    CODECS.forEach(codec -> topics.add(new NewTopic(prefix + "-" + codec, 1, replicas)));
    admin.createTopics(topics).all().get();
  }

  private void list() throws Exception {
    Set<String> names = Set.of();
    for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(5); !names.contains(prefix + "-zstd");) {
      check(System.nanoTime() < end, "listed %s", names);
      names = admin.listTopics().names().get();
    }
    check(names.contains(prefix), "listed %s", names);
  }

  private void describe() throws Exception {
    TopicDescription topic = admin.describeTopics(List.of(prefix)).allTopicNames().get().get(prefix);
    check(topic.partitions().size() == 4, "partitions %s", topic.partitions());
    check(topic.partitions().get(0).leader() != null, "no leader");
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, prefix);
    Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    check(config.get("retention.ms").value().equals("3600000"), "retention.ms = %s", config.get("retention.ms"));
    check(config.get("retention.ms").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "source of %s", config);
    check(!admin.describeCluster().clusterId().get().isEmpty(), "no cluster id");
    check(!admin.describeLogDirs(List.of(topic.partitions().get(0).leader().id())).allDescriptions().get().isEmpty(), "no log dirs");
  }

  private void config() throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, prefix);
    AlterConfigOp set = new AlterConfigOp(new ConfigEntry("max.message.bytes", "200000"), AlterConfigOp.OpType.SET);
    admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
    Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(5); System.nanoTime() < end
        && !config.get("max.message.bytes").value().equals("200000");) {
      config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
    }
    check(config.get("max.message.bytes").value().equals("200000"), "max.message.bytes = %s", config.get("max.message.bytes"));
    check(config.get("retention.ms").value().equals("3600000"), "retention.ms was lost: %s", config.get("retention.ms"));
  }

  private KafkaProducer<byte[], byte[]> producer(String codec) {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("compression.type", codec);
    p.put("linger.ms", "20");
    return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
  }

  private KafkaConsumer<byte[], byte[]> consumer(String group) {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("auto.offset.reset", "earliest");
    p.put("enable.auto.commit", "false");
    p.put("heartbeat.interval.ms", "300");
    p.put("session.timeout.ms", "6000");
    p.put("fetch.max.wait.ms", "100");
    if (group != null) {
      p.put("group.id", group);
    }
    return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static byte[] key(int i) {
    return i % 10 == 9 ? null : ("key-" + i).getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] value(int i) {
    return i % 10 == 5 ? null : ("value-" + i + "-" + "abc".repeat(i)).getBytes(StandardCharsets.UTF_8);
  }

  private void produce() throws Exception {
    for (String codec : CODECS) {
      try (KafkaProducer<byte[], byte[]> producer = producer(codec)) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < RECORDS; i++) {
          var headers = List.<org.apache.kafka.common.header.Header>of(
              new RecordHeader("n", Integer.toString(i).getBytes(StandardCharsets.UTF_8)));
          sent.add(producer.send(new ProducerRecord<>(prefix + "-" + codec, 0, t0 + i * 1000L, key(i), value(i), headers)));
        }
        for (int i = 0; i < RECORDS; i++) {
          check(sent.get(i).get().offset() == i, "%s record %d got offset %d", codec, i, sent.get(i).get().offset());
        }
      }
    }
  }

  private List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int count) {
    List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(15);
    while (got.size() < count) {
      check(System.nanoTime() < deadline, "%d records of %d after 15 s", got.size(), count);
      consumer.poll(POLL).forEach(got::add);
    }
    return got;
  }

  private void consume() {
    for (String source : List.of(prefix, fixture)) {
      for (String codec : CODECS) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(null)) {
          TopicPartition tp = new TopicPartition(source + "-" + codec, 0);
          consumer.assign(List.of(tp));
          consumer.seekToBeginning(List.of(tp));
          List<ConsumerRecord<byte[], byte[]>> got = read(consumer, RECORDS);
          for (int i = 0; i < RECORDS; i++) {
            ConsumerRecord<byte[], byte[]> r = got.get(i);
            boolean same = r.offset() == i && r.timestamp() == t0 + i * 1000L && Arrays.equals(r.key(), key(i))
                && Arrays.equals(r.value(), value(i)) && new String(r.headers().lastHeader("n").value()).equals("" + i);
            check(same, "%s record %d is %s", tp, i, r);
          }
        }
      }
    }
  }

  /** Polls both members until they hold what is wanted: the sizes of their shares, in order. */
  private static void settle(List<KafkaConsumer<byte[], byte[]>> members, Integer... want) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    List<Integer> have = List.of();
    while (System.nanoTime() < deadline) {
      members.forEach(member -> member.poll(POLL));
      have = members.stream().map(member -> member.assignment().size()).toList();
      if (have.equals(List.of(want))) {
        return;
      }
    }
    check(false, "assignments %s, want %s", have, Arrays.toString(want));
  }

  private void group() {
    try (KafkaConsumer<byte[], byte[]> a = consumer(prefix + "-g")) {
      a.subscribe(List.of(prefix + "-group"));
      settle(List.of(a), 4);
      try (KafkaConsumer<byte[], byte[]> b = consumer(prefix + "-g")) {
        b.subscribe(List.of(prefix + "-group"));
        settle(List.of(a, b), 2, 2);
      }
      settle(List.of(a), 4);
    }
  }

  private void resume() {
    TopicPartition tp = new TopicPartition(prefix + "-none", 0);
    try (KafkaConsumer<byte[], byte[]> first = consumer(prefix + "-r")) {
      first.subscribe(List.of(tp.topic()));
      read(first, RECORDS);
      first.commitSync(Map.of(tp, new OffsetAndMetadata(60, "sixty")));
    }
    try (KafkaConsumer<byte[], byte[]> second = consumer(prefix + "-r")) {
      second.subscribe(List.of(tp.topic()));
      List<ConsumerRecord<byte[], byte[]>> rest = read(second, 40);
      check(rest.get(0).offset() == 60, "resumed at %d", rest.get(0).offset());
      check(second.committed(Set.of(tp)).get(tp).metadata().equals("sixty"), "metadata of the commit");
    }
  }

  private void time() {
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(null)) {
      TopicPartition tp = new TopicPartition(prefix + "-zstd", 0);
      OffsetAndTimestamp at = consumer.offsetsForTimes(Map.of(tp, t0 + 49_500)).get(tp);
      check(at.offset() == 50 && at.timestamp() == t0 + 50_000, "time look-up gave %s", at);
      check(consumer.offsetsForTimes(Map.of(tp, t0 + 1_000_000)).get(tp) == null, "an offset for a time past the end");
      consumer.assign(List.of(tp));
      consumer.seek(tp, at.offset());
      check(Arrays.equals(read(consumer, 1).get(0).key(), key(50)), "wrong record after the seek");
    }
  }

  private void groups() throws Exception {
    Set<String> ids = new HashSet<>();
    admin.listGroups(ListGroupsOptions.forConsumerGroups()).all().get().stream().map(GroupListing::groupId).forEach(ids::add);
    check(ids.contains(prefix + "-r"), "groups %s", ids);
    ConsumerGroupDescription group = admin.describeConsumerGroups(List.of(prefix + "-r")).all().get().get(prefix + "-r");
    check(group.groupState().toString().equals("Empty"), "state %s", group.groupState());
    Map<TopicPartition, OffsetAndMetadata> offsets =
        admin.listConsumerGroupOffsets(prefix + "-r").partitionsToOffsetAndMetadata().get();
    check(offsets.get(new TopicPartition(prefix + "-none", 0)).offset() == 60, "offsets %s", offsets);
    admin.deleteConsumerGroups(List.of(prefix + "-r")).all().get();
  }

  private void delete() throws Exception {
    TopicPartition tp = new TopicPartition(prefix + "-gone", 0);
    try (KafkaProducer<byte[], byte[]> producer = producer("none")) {
      for (int i = 0; i < 40; i++) {
        producer.send(new ProducerRecord<>(tp.topic(), 0, key(i), value(i)));
      }
    }
    long low = admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(30))).lowWatermarks().get(tp).get().lowWatermark();
    check(low == 30, "low watermark %d", low);
    admin.deleteTopics(List.of(prefix + "-gone")).all().get();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (admin.listTopics().names().get().contains(prefix + "-gone")) {
      check(System.nanoTime() < deadline, "still listed after 10 s");
    }
  }
}
