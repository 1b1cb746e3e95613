import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** A service on the JVM: `busy` has four threads that make garbage and keep a little of it; `idle` has them wait. */
class Service {
    static final List<Map<String, byte[]>> kept = new ArrayList<>();

    static synchronized void serve() {
        Map<String, byte[]> answer = new HashMap<>();
        for (int i = 0; i < 200; i++) {
            answer.put("key" + i + kept.size(), new byte[500]);
        }
        if (answer.hashCode() % 10 == 0) {
            kept.add(answer);
        }
    }

    public static void main(String[] args) {
        var pool = Executors.newScheduledThreadPool(4);
        for (int i = 0; i < 4; i++) {
            if (args[0].equals("busy")) {
                pool.scheduleAtFixedRate(Service::serve, i, 20, TimeUnit.MILLISECONDS);
            } else {
                pool.schedule(Service::serve, 1, TimeUnit.DAYS);
            }
        }
    }
}
