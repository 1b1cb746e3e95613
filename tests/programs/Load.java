import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Proxy;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/** Memory under load on the JVM, as it is told: a word in, a word out. */
class Load {
    static List<Object> kept = new ArrayList<>();
    static List<Thread> threads = new ArrayList<>();
    static CountDownLatch gate = new CountDownLatch(1);

    static void grow() {
        for (int i = 0; i < 2000; i++) {
            kept.add(new byte[10000]);
        }
        var map = new HashMap<String, Object>();
        for (int i = 0; i < 20000; i++) {
            map.put("key" + i, List.of(i, i + 1));
        }
        kept.add(map);
        kept.add(ByteBuffer.allocateDirect(2 << 20));
    }

    static void release() {
        var left = new ArrayList<>();
        for (int i = 0; i < kept.size(); i += 3) {
            left.add(kept.get(i));
        }
        kept = left;
        System.gc();
    }

    static void start() throws Exception {
        if (threads.isEmpty()) {
            gate = new CountDownLatch(1);
        }
        for (int i = 0; i < 12; i++) {
            var ready = new CountDownLatch(1);
            var thread = new Thread(() -> {
                var mine = new byte[100_000];
                mine[0] = 1;
                ready.countDown();
                try {
                    gate.await();
                } catch (InterruptedException e) {
                    return;
                }
            });
            thread.start();
            ready.await();
            threads.add(thread);
        }
    }

    static void join() throws Exception {
        gate.countDown();
        for (var thread : threads) {
            thread.join();
        }
        threads.clear();
    }

    static void classes() throws Exception {
        for (int i = 0; i < 100; i++) {
            var loader = new URLClassLoader(new URL[0]);
            kept.add(Proxy.newProxyInstance(loader, new Class<?>[] {Runnable.class}, (proxy, method, args) -> null));
        }
    }

    public static void main(String[] args) throws Exception {
        System.out.println("ready " + ProcessHandle.current().pid());
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            switch (line) {
                case "grow" -> grow();
                case "release" -> release();
                case "start" -> start();
                case "join" -> join();
                case "classes" -> classes();
                default -> throw new IllegalArgumentException(line);
            }
            System.out.println("done");
        }
    }
}
