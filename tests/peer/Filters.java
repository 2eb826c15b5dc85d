// Evaluates SQL92 filters with Apache RocketMQ's own parser, as a table; run as a single-file program by 'filters'.
//   Filters.java table EXPRESSIONS PROPERTIES      one expression a line, with \n, \r, \t, \f and \\ for what a line cannot hold
//   Filters.java random SEED COUNT PROPERTIES      as many random expressions
// A line of the table: what the filter says of each line of PROPERTIES (T true, F false, N unknown, E evaluation failed), or
// 'refused'; a tab; the expression.
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;

public final class Filters {
    static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    static final String[] NAMES = {"a", "b", "s", "price", "flag", "TAGS", "missing"};
    static final String[] NUMBERS = {"0", "1", "5", "10", "5.0", "1.5", "2147483648", "7L", "1e3", ".5", "-7", "+5", "- -1"};
    static final String[] TEXTS = {"'abc'", "'5'", "'TagA'", "''", "'it''s'", "'a'", "'true'", "'c'", "'größe €'"};
    static final String[] WORDS = {"TRUE", "FALSE", "NULL"};

    /** A message's properties. */
    record Message(Map<String, String> properties) implements EvaluationContext {
        @Override
        public Object get(String name) {
            return properties.get(name);
        }

        @Override
        public Map<String, Object> keyValues() {
            return new HashMap<>(properties);
        }
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("table")) {
            List<Message> messages = messages(args[2]);
            for (String line : Files.readAllLines(Path.of(args[1]))) {
                print(line, unescape(line), messages);
            }
        } else {
            Random random = new Random(Long.parseLong(args[1]));
            List<Message> messages = messages(args[3]);
            for (int i = 0; i < Integer.parseInt(args[2]); i++) {
                String expression = either(random, 3);
                print(expression, expression, messages);
            }
        }
        OUT.flush();
    }

    static List<Message> messages(String file) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(file))) {
            Map<String, String> properties = new HashMap<>();
            for (String entry : line.split("\t")) {
                int equals = entry.indexOf('=');
                if (equals > 0) {
                    properties.put(entry.substring(0, equals), entry.substring(equals + 1));
                }
            }
            messages.add(new Message(properties));
        }
        return messages;
    }

    static String unescape(String line) {
        return line.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\\f", "\f").replace("\\\\", "\\");
    }

    static void print(String shown, String expression, List<Message> messages) {
        StringBuilder results = new StringBuilder();
        try {
            Expression compiled = FilterFactory.INSTANCE.get("SQL92").compile(expression);
            for (Message message : messages) {
                results.append(letter(compiled, message));
            }
        } catch (MQFilterException refused) {
            results.append("refused");
        }
        OUT.println(results + "\t" + shown);
    }

    static char letter(Expression compiled, Message message) {
        try {
            Object result = compiled.evaluate(message);
            return result == null ? 'N' : result == Boolean.TRUE ? 'T' : result == Boolean.FALSE ? 'F' : '?';
        } catch (Exception failed) {
            return 'E';
        }
    }

    static String one(Random random, String[] of) {
        return of[random.nextInt(of.length)];
    }

    static String either(Random random, int depth) {
        StringBuilder text = new StringBuilder(condition(random, depth));
        for (int more = random.nextInt(3); more > 0; more--) {
            text.append(random.nextBoolean() ? " AND " : " OR ").append(condition(random, depth));
        }
        return text.toString();
    }

    static String condition(Random random, int depth) {
        String left = operand(random, depth);
        String not = random.nextInt(3) == 0 ? "NOT " : "";
        return switch (random.nextInt(12)) {
            case 0 -> left + (random.nextBoolean() ? " = " : " <> ") + operand(random, depth);
            case 1, 2 -> one(random, NAMES) + (random.nextBoolean() ? " = " : " <> ") + constant(random);
            case 3 -> left + " " + one(random, new String[] {"<", "<=", ">", ">="}) + " " + operand(random, depth);
            case 4, 5 -> one(random, NAMES) + " " + one(random, new String[] {"<", "<=", ">", ">="}) + " " + one(random, NUMBERS);
            case 6 -> one(random, NAMES) + " " + not + "BETWEEN " + one(random, NUMBERS) + " AND " + one(random, NUMBERS);
            case 7 -> one(random, NAMES) + " " + not + "IN (" + one(random, TEXTS) + ", " + one(random, TEXTS) + ")";
            case 8 -> left + " IS " + not + "NULL";
            case 9 -> left + " " + not + one(random, new String[] {"CONTAINS", "STARTSWITH", "ENDSWITH"}) + " " + one(random, TEXTS);
            case 10 -> depth > 0 ? "NOT (" + either(random, depth - 1) + ")" : left;
            default -> depth > 0 ? "(" + either(random, depth - 1) + ")" : one(random, WORDS);
        };
    }

    static String operand(Random random, int depth) {
        return switch (random.nextInt(8)) {
            case 0, 1, 2, 3 -> one(random, NAMES);
            case 4, 5 -> constant(random);
            case 6 -> depth > 0 ? "(" + either(random, depth - 1) + ")" : one(random, NAMES);
            default -> one(random, new String[] {"NOT ", "-", "+"}) + one(random, NAMES);
        };
    }

    static String constant(Random random) {
        return one(random, random.nextInt(5) == 0 ? WORDS : random.nextBoolean() ? NUMBERS : TEXTS);
    }
}
