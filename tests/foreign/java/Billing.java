// A billing service as a Java team would write it: the JDK's HTTP server and client, resilience4j around the calls of a card
// processor, its metrics by Micrometer's OTLP registry, and everything else by the OpenTelemetry agent. The processor is in
// the same process, so that a test can break it.
//
//   GET /charge            asks the processor; 503 where the breaker turns it away
//   POST /processor/MODE   down or up
//
// Started as a single source file: java -javaagent:… -cp 'lib/*' Billing.java. Prints the port that it listens on.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.github.resilience4j.circuitbreaker.CallNotPermittedException;
import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.circuitbreaker.CircuitBreakerRegistry;
import io.github.resilience4j.micrometer.tagged.TaggedCircuitBreakerMetrics;
import io.micrometer.core.instrument.Clock;
import io.micrometer.registry.otlp.OtlpConfig;
import io.micrometer.registry.otlp.OtlpMeterRegistry;
import io.opentelemetry.api.trace.Span;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Executors;

public class Billing {
    static volatile boolean down;

    public static void main(String[] args) throws Exception {
        var config = CircuitBreakerConfig.custom()
            .failureRateThreshold(50)
            .slidingWindowSize(6)
            .minimumNumberOfCalls(4)
            .permittedNumberOfCallsInHalfOpenState(2)
            .waitDurationInOpenState(Duration.ofMillis(Long.parseLong(System.getenv().getOrDefault("RESET_TIMEOUT", "5000"))))
            .automaticTransitionFromOpenToHalfOpenEnabled(true)
            .build();
        var breakers = CircuitBreakerRegistry.of(config);
        var breaker = breakers.circuitBreaker("card-processor");
        var metrics = new OtlpMeterRegistry(new OtlpConfig() {
            @Override public String get(String key) { return null; }
            @Override public String url() { return System.getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + "/v1/metrics"; }
            @Override public Duration step() { return Duration.ofSeconds(1); }
            @Override public Map<String, String> resourceAttributes() {
                return Map.of("service.name", System.getenv("OTEL_SERVICE_NAME"));
            }
        }, Clock.SYSTEM);
        TaggedCircuitBreakerMetrics.ofCircuitBreakerRegistry(breakers).bindTo(metrics);

        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        var client = HttpClient.newHttpClient();
        var processor = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/processor");
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/processor", exchange -> {
            if (exchange.getRequestMethod().equals("POST")) {
                down = exchange.getRequestURI().getPath().endsWith("/down");
                answer(exchange, 200, "set");
            } else {
                answer(exchange, down ? 500 : 200, "processed");
            }
        });
        server.createContext("/charge", exchange -> charge(exchange, breaker, client, processor));
        server.start();
        System.out.println("listening on " + server.getAddress().getPort());
    }

    static void charge(HttpExchange exchange, CircuitBreaker breaker, HttpClient client, URI processor) throws IOException {
        try {
            breaker.executeCallable(() -> {
                var response = client.send(HttpRequest.newBuilder(processor).build(), HttpResponse.BodyHandlers.ofString());
                if (response.statusCode() != 200) {
                    throw new IOException("the processor answered " + response.statusCode());
                }
                return response.body();
            });
            answer(exchange, 200, "charged");
        } catch (CallNotPermittedException refused) {
            Span.current().recordException(refused);
            answer(exchange, 503, refused.getMessage());
        } catch (Exception failed) {
            Span.current().recordException(failed);
            answer(exchange, 502, failed.getMessage());
        }
    }

    static void answer(HttpExchange exchange, int status, String text) throws IOException {
        var bytes = text.getBytes();
        exchange.sendResponseHeaders(status, bytes.length);
        try (var body = exchange.getResponseBody()) {
            body.write(bytes);
        }
    }
}
