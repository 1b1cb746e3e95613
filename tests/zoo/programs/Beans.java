import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** The animals of the zoo that run on the JVM: `Beans NAME RATE`. As animals.c: a line in, a step, a line out. */
class Beans {
    static final int MIB = 1 << 20;
    static final List<Object> kept = new ArrayList<>();
    static final Random numbers = new Random(7);
    static double rate;

    static int about(double mib) {
        return (int) (mib * rate * MIB * (0.8 + 0.4 * numbers.nextDouble()));
    }

    static void keep(int bytes) {
        for (int left = bytes; left > 0; left -= 1000) {
            kept.add(new byte[numbers.nextInt(2000)]);
        }
    }

    static void step(String name, int tick) {
        switch (name) {
            case "java-objects" -> {
                keep(about(1.5));
                // What survives moves out of the nursery, which is as large as ever.
                System.gc();
            }
            case "java-buffers" -> {
                for (int left = about(1.5); left > 0; left -= 50000) {
                    kept.add(ByteBuffer.allocateDirect(numbers.nextInt(100000)));
                }
            }
            case "java-collector" -> {
                keep(about(5));
                if (tick % 6 == 5) {
                    kept.clear();
                }
                System.gc();
            }
            default -> { }
        }
    }

    public static void main(String[] args) throws Exception {
        rate = Double.parseDouble(args[1]);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready " + ProcessHandle.current().pid());
        for (int tick = 1; lines.readLine() != null; tick++) {
            step(args[0], tick);
            System.out.println("done");
        }
    }
}
