# wireglass in a container: a build stage and a slim run stage, set up by the same script as any machine.
#
#   docker build --format docker -t wireglass .      # podman, buildah; docker itself needs no --format
#   docker run --rm wireglass --help
#
# How to give it ports: docs/deploy.md. scripts/image-test.sh builds and tries it without a registry, from a Debian of its own.
ARG BUILD_BASE=rust:1.91-slim-bookworm
ARG RUN_BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /build
# Packages first: they change seldom, and this layer is then kept.
COPY scripts/setup.sh scripts/lib.sh scripts/
RUN scripts/setup.sh --build-only
COPY . .
RUN cargo build --release --locked -p wireglass --features dpdk,fleet \
    && strip target/release/wireglass

FROM ${RUN_BASE}
COPY scripts/setup.sh scripts/lib.sh /tmp/scripts/
RUN /tmp/scripts/setup.sh --runtime-only \
    && rm -rf /tmp/scripts /var/lib/apt/lists/* \
    && useradd --system --uid 9464 --user-group --no-create-home --home-dir /etc/wireglass wireglass \
    && install -d -o wireglass -g wireglass -m 0750 /etc/wireglass /run/wireglass /var/log/wireglass
COPY --from=build /build/target/release/wireglass /usr/local/bin/wireglass
# NICs behind vfio-pci need no root: their group's file in /dev/vfio has to be this user's. Kernel interfaces (af_packet, tap) do:
# --user 0 with NET_RAW and NET_ADMIN.
USER wireglass
WORKDIR /etc/wireglass
# Fails while a worker is stuck, and while nobody is between the ports yet.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["wireglass", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["wireglass"]
CMD ["run", "-c", "/etc/wireglass/wireglass.toml"]
