# The binary, built and run without root. The same image is the dashboard and each service of the demo shop.
FROM rust:1-bookworm AS build
# npm brings htmx at build time; without it the pages are built less lively.
RUN apt-get update && apt-get install -y --no-install-recommends npm && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /data throughline \
    && install -d -o throughline /broker
COPY --from=build /source/target/release/throughline /usr/local/bin/throughline
USER throughline
WORKDIR /data
VOLUME /data
EXPOSE 7070 4317 4318
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD curl -fsS http://127.0.0.1:7070/readyz || exit 1
ENTRYPOINT ["throughline"]
# Inside a container everything listens beyond loopback; publish the ports on 127.0.0.1 only (see docker-compose.yml).
CMD ["dashboard", "--listen", "0.0.0.0:7070", "--otlp-grpc", "0.0.0.0:4317", "--otlp-http", "0.0.0.0:4318", "--allow-remote"]
