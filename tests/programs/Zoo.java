import java.util.ArrayList;
import java.util.List;

/** A JVM with a heap that is used, five threads, classes and compiled code. Says `ready PID`, and ends with its standard input. */
class Zoo {
    static final List<Object> kept = new ArrayList<>();

    static double work(int rounds) {
        double sum = 0;
        for (int i = 1; i < rounds; i++) {
            sum += Math.sqrt(i) * Integer.toHexString(i).hashCode();
        }
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 5; i++) {
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(1_000_000_000L);
                } catch (InterruptedException end) {
                    // It ends.
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
        kept.add(work(1_000_000));
        for (int i = 0; i < 100; i++) {
            kept.add(new byte[200_000]);
        }
        System.out.println("ready " + ProcessHandle.current().pid());
        while (System.in.read() >= 0) {
            System.out.println();
        }
    }
}
