import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;

/**
 * Apache Kafka behind the command line of `chronik serve`: one KRaft node that is broker and controller. It lets the
 * whole suite run against the broker whose behaviour the suite claims to know (see reference.sh).
 */
public final class ReferenceBroker {
  public static void main(String[] args) throws Exception {
    Map<String, String> flags = new LinkedHashMap<>();
    Map<String, String> overrides = new LinkedHashMap<>();
    parse(args, flags, overrides);
    Path data = Path.of(flags.get("--data-dir")).toAbsolutePath();
    Files.createDirectories(data.resolve("log"));
    int client = port(flags.getOrDefault("--kafka-listen", "127.0.0.1:0"));
    int controller = controllerPort(data);

    Map<String, String> config = new LinkedHashMap<>();
    config.put("process.roles", "broker,controller");
    config.put("node.id", "1");
    config.put("controller.quorum.voters", "1@127.0.0.1:" + controller);
    config.put("controller.listener.names", "CONTROLLER");
    config.put("listeners", "PLAINTEXT://127.0.0.1:" + client + ",CONTROLLER://127.0.0.1:" + controller);
    config.put("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT");
    config.put("log.dirs", data.resolve("log").toString());
    config.put("offsets.topic.replication.factor", "1");
    config.put("offsets.topic.num.partitions", "4");
    config.put("transaction.state.log.replication.factor", "1");
    config.put("transaction.state.log.min.isr", "1");
    config.put("transaction.state.log.num.partitions", "4");
    config.putAll(overrides);
    Path properties = data.resolve("server.properties");
    List<String> lines = new ArrayList<>();
    config.forEach((key, value) -> lines.add(key + "=" + value));
    Files.write(properties, lines);

    int code =
        kafka.tools.StorageTool.execute(
            new String[] {"format", "-t", "Y2hyb25pay1yZWZlcmVuYw", "--ignore-formatted", "-c", properties.toString()},
            System.err);
    if (code != 0) {
      System.exit(code);
    }
    new Thread(() -> kafka.Kafka.main(new String[] {properties.toString()}), "broker").start();
    String address = "127.0.0.1:" + client;
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
      while (admin.describeCluster().nodes().get().isEmpty()) {
        Thread.sleep(50);
      }
    }
    System.out.println("chronik ready node=1 kafka=" + address + " peer=127.0.0.1:" + controller + " gossip=- http=-");
    System.out.flush();
  }

  private static void parse(String[] args, Map<String, String> flags, Map<String, String> overrides) {
    for (int i = 0; i < args.length; i++) {
      if (!args[i].startsWith("--")) {
        continue;
      }
      String name = args[i];
      String value;
      if (name.contains("=") && !name.equals("--set")) {
        value = name.substring(name.indexOf('=') + 1);
        name = name.substring(0, name.indexOf('='));
      } else {
        value = args[++i];
      }
      if (name.equals("--set")) {
        int eq = value.indexOf('=');
        overrides.put(value.substring(0, eq), value.substring(eq + 1));
      } else {
        flags.put(name, value);
      }
    }
  }

  private static int port(String listen) throws IOException {
    int asked = Integer.parseInt(listen.substring(listen.lastIndexOf(':') + 1));
    if (asked != 0) {
      return asked;
    }
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  /** The quorum's address is part of the formatted metadata, so the first start chooses it for good. */
  private static int controllerPort(Path data) throws IOException {
    Path file = data.resolve("controller.port");
    if (!Files.exists(file)) {
      Files.writeString(file, Integer.toString(port(":0")));
    }
    return Integer.parseInt(Files.readString(file));
  }
}
