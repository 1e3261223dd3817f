import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools in one JVM, because a JVM start costs more than most of the commands. The tools are
 * called through their own main, with the arguments and the standard input that a shell would have given them.
 *
 * <p>Standard input carries one JSON request a line, standard output one JSON answer a line:
 *
 * <pre>
 * {"id":1,"main":"org.apache.kafka.tools.TopicCommand","args":["--list"],"stdin":""}
 * {"id":1,"exit":0,"out":"…","err":"…"}
 * </pre>
 *
 * The answer comes when main has returned or exited and the hooks that it gave to Kafka's Exit have run. Runs are
 * concurrent. A tool that hangs a hook into the JVM itself needs a JVM of its own.
 */
public final class Driver {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final InheritableThreadLocal<Run> CURRENT = new InheritableThreadLocal<>();
  private static final PrintStream ANSWERS = System.out;
  private static final PrintStream REAL_ERR = System.err;

  /** One invocation: its streams, its exit code and the hooks it registered. Threads that it starts inherit it. */
  private static final class Run {
    final int id;
    final ByteArrayOutputStream out = new ByteArrayOutputStream();
    final ByteArrayOutputStream err = new ByteArrayOutputStream();
    final InputStream in;
    final List<Runnable> hooks = new ArrayList<>();
    Integer exit; // the first code wins: a tool may catch our exception and exit once more

    Run(int id, String stdin) {
      this.id = id;
      this.in = new ByteArrayInputStream(stdin.getBytes(StandardCharsets.UTF_8));
    }

    synchronized void exit(int code) {
      if (exit == null) {
        exit = code;
      }
    }

    synchronized void hook(Runnable hook) {
      hooks.add(hook);
    }

    void runHooks() {
      List<Runnable> todo;
      synchronized (this) {
        todo = new ArrayList<>(hooks);
        hooks.clear();
      }
      todo.forEach(Runnable::run);
    }
  }

  /** Thrown where a tool would have ended the JVM. */
  private static final class Exited extends RuntimeException {
    Exited(int code, String message) {
      super("exit " + code + ": " + message);
    }
  }

  public static void main(String[] args) throws IOException {
    Exit.setExitProcedure(Driver::exited);
    Exit.setHaltProcedure(Driver::exited);
    Exit.setShutdownHookAdder(
        (name, hook) -> {
          Run run = CURRENT.get();
          if (run != null) {
            run.hook(hook);
          }
        });
    System.setOut(new PrintStream(new Dispatch(false), true));
    System.setErr(new PrintStream(new Dispatch(true), true));
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    System.setIn(new RunInput());
    for (String line; (line = requests.readLine()) != null; ) {
      if (line.equals("warm")) {
        warm();
        continue;
      }
      serve(JSON.readTree(line));
    }
    System.exit(0); // the parent is gone or done; tools may have left threads
  }

  private static void serve(JsonNode request) {
    int id = request.get("id").asInt();
    Run run = new Run(id, request.path("stdin").asText(""));
    List<String> args = new ArrayList<>();
    request.path("args").forEach(arg -> args.add(arg.asText()));
    String main = request.get("main").asText();
    new Thread(() -> invoke(run, main, args.toArray(new String[0])), main + "-" + id).start();
  }

  private static void invoke(Run run, String main, String[] args) {
    CURRENT.set(run);
    try {
      Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) args);
      run.exit(0);
    } catch (InvocationTargetException e) {
      if (!(e.getCause() instanceof Exited)) {
        e.getCause().printStackTrace();
        run.exit(1);
      }
    } catch (ReflectiveOperationException e) {
      e.printStackTrace();
      run.exit(127);
    }
    run.runHooks();
    answer(run);
  }

  private static void exited(int code, String message) {
    Run run = CURRENT.get();
    if (run != null) {
      run.exit(code);
    }
    throw new Exited(code, message);
  }

  private static void answer(Run run) {
    ObjectNode answer = JSON.createObjectNode();
    answer.put("id", run.id).put("exit", run.exit);
    answer.put("out", run.out.toString(StandardCharsets.UTF_8)).put("err", run.err.toString(StandardCharsets.UTF_8));
    synchronized (ANSWERS) {
      ANSWERS.println(answer);
      ANSWERS.flush();
    }
  }

  /** Loads what most runs load, so that the class archive made of this JVM holds it. */
  private static void warm() throws IOException {
    String[] help = {"--help"};
    for (String main :
        List.of(
            "org.apache.kafka.tools.TopicCommand",
            "org.apache.kafka.tools.ConsoleProducer",
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            "kafka.admin.ConfigCommand")) {
      invoke(new Run(0, ""), main, help);
    }
    Run unreachable = new Run(0, ""); // nobody listens there: loads the clients and fails within its own deadline
    String[] list = {"127.0.0.1:1", "warm", "0", "warm", "1"};
    invoke(unreachable, "JavaClients", list);
  }

  /** Writes to the run of the calling thread; what no run owns goes to the JVM's standard error. */
  private static final class Dispatch extends OutputStream {
    private final boolean err;

    Dispatch(boolean err) {
      this.err = err;
    }

    private OutputStream target() {
      Run run = CURRENT.get();
      if (run == null) {
        return REAL_ERR;
      }
      return err ? run.err : run.out;
    }

    @Override
    public void write(int b) throws IOException {
      target().write(b);
    }

    @Override
    public void write(byte[] b, int off, int len) throws IOException {
      target().write(b, off, len);
    }
  }

  /** Reads the standard input of the calling thread's run. */
  private static final class RunInput extends InputStream {
    @Override
    public int read() throws IOException {
      Run run = CURRENT.get();
      return run == null ? -1 : run.in.read();
    }

    @Override
    public int read(byte[] b, int off, int len) throws IOException {
      Run run = CURRENT.get();
      return run == null ? -1 : run.in.read(b, off, len);
    }
  }
}
