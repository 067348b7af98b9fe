// Purpose: work for a Java machine that allocates by malloc, mixed with what the machine does by signals: direct and mapped buffers, zlib,
// native methods that hand blocks from thread to thread, compilation and collection in threads of the machine's own, faults that it turns into
// exceptions, stacks that overflow, children. Prints one line a part; the same in every run.
import java.io.ByteArrayOutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

public class Work {
    static final int THREADS = 8;

    static native long take(int size, int seed); // malloc
    static native int give(long block, int size, int seed); // checks, free
    static native ByteBuffer wrap(long block, int size);
    static native String twice(String text);

    interface Part {
        long run(int number) throws Exception;
    }

    // The sum of what a part gives in each of the threads.
    static void inThreads(String name, Part part) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(THREADS);
        List<Future<Long>> results = new ArrayList<>();
        for (int i = 0; i < THREADS; i++) {
            int number = i;
            results.add(pool.submit((Callable<Long>) () -> part.run(number)));
        }
        long sum = 0;
        for (Future<Long> result : results)
            sum += result.get();
        pool.shutdown();
        System.out.println(name + ": " + sum);
    }

    static long objects(int number) {
        Random random = new Random(number);
        List<Object> kept = new ArrayList<>();
        long sum = 0;
        for (int i = 0; i < 200000; i++) {
            byte[] bytes = new byte[random.nextInt(500)];
            sum += bytes.length;
            if (i % 10 == 0)
                kept.add(bytes);
            if (kept.size() > 5000)
                kept.clear();
        }
        return sum;
    }

    static long buffers(int number) {
        Random random = new Random(number);
        CRC32 crc = new CRC32();
        for (int i = 0; i < 300; i++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(1 + random.nextInt(i % 20 == 0 ? 3000000 : 30000));
            for (int j = 0; j < buffer.capacity(); j += 97)
                buffer.put(j, (byte) (j + number));
            crc.update(buffer);
        }
        return crc.getValue();
    }

    static long deflate(int number) throws Exception {
        Random random = new Random(number);
        byte[] text = new byte[200000], out = new byte[300000], back = new byte[200000];
        long sum = 0;
        for (int i = 0; i < text.length; i++)
            text[i] = (byte) ('a' + random.nextInt(8));
        for (int i = 0; i < 10; i++) {
            Deflater deflater = new Deflater(i % 9 + 1);
            deflater.setInput(text);
            deflater.finish();
            int length = deflater.deflate(out);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(out, 0, length);
            if (inflater.inflate(back) != text.length || !java.util.Arrays.equals(text, back))
                throw new AssertionError("deflate");
            inflater.end();
            sum += length;
        }
        return sum;
    }

    static int depth;

    static int descend(int n) {
        depth = n;
        return descend(n + 1) + 1;
    }

    // The machine's handlers of SIGSEGV and of the guard pages of a stack.
    static long faults(int number) {
        String[] none = new String[3];
        long caught = 0;
        for (int i = 0; i < 20000; i++) {
            try {
                caught += none[i % 3].length();
            } catch (NullPointerException e) {
                caught++;
            }
        }
        for (int i = 0; i < 5; i++) {
            try {
                descend(0);
            } catch (StackOverflowError e) {
                caught += depth > 100 ? 1 : 0;
            }
        }
        return caught;
    }

    static final ArrayBlockingQueue<long[]> queue = new ArrayBlockingQueue<>(100);

    // Native blocks from each even thread to an odd one.
    static long natives(int number) throws Exception {
        Random random = new Random(number);
        long sum = 0;
        for (int i = 0; i < 20000; i++) {
            if (number % 2 == 0) {
                int size = 16 + random.nextInt(i % 500 == 0 ? 2000000 : 2000);
                queue.put(new long[] {take(size, i), size, i});
            } else {
                long[] block = queue.take();
                if (wrap(block[0], (int) block[1]).get(0) != (byte) block[2])
                    throw new AssertionError("wrapped");
                sum += give(block[0], (int) block[1], (int) block[2]);
            }
            if (i % 100 == 0)
                sum += twice("text of thread " + number).length();
        }
        return number % 2 == 0 ? 0 : sum - sum % 2;
    }

    static long mapped(int number) throws Exception {
        Path path = Files.createTempFile("mapped", null);
        long sum = 0;
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw"); FileChannel channel = file.getChannel()) {
            ByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
            for (int i = 0; i < map.capacity(); i++)
                map.put(i, (byte) (i * number));
            for (int i = 0; i < map.capacity(); i++)
                sum += map.get(i);
        }
        Files.delete(path);
        return sum;
    }

    static long children(int number) throws Exception {
        long sum = 0;
        for (int i = 0; i < 5; i++) {
            Process child = new ProcessBuilder("sh", "-c", "echo child of thread " + number + "; cat").start();
            child.getOutputStream().write(new byte[1000]);
            child.getOutputStream().close();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            child.getInputStream().transferTo(out);
            sum += out.size() + child.waitFor();
        }
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println("hello");
        inThreads("objects", Work::objects);
        inThreads("direct buffers", Work::buffers);
        inThreads("zlib", Work::deflate);
        inThreads("faults", Work::faults);
        inThreads("mapped", Work::mapped);
        inThreads("children", Work::children);
        if (arguments.length > 0) {
            System.load(arguments[0]);
            inThreads("native blocks", Work::natives);
        }
        for (int i = 0; i < 3; i++)
            System.gc();
    }
}
