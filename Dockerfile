# wireglass in a container: a build stage and a slim run stage, set up by the same script as any machine.
#
#   docker build -t wireglass .
#   docker run --rm wireglass --help
#
# Ports: give the container what DPDK needs. For af_packet ports on host interfaces (hugepages not needed):
#   docker run --network host --cap-add NET_RAW --cap-add NET_ADMIN --cap-add IPC_LOCK \
#     -v /etc/wireglass:/etc/wireglass wireglass
# For NICs bound to vfio-pci add: --device /dev/vfio -v /dev/hugepages:/dev/hugepages

FROM rust:1.91-slim-bookworm AS build
WORKDIR /build
# Packages first: they change seldom, and this layer is then kept.
COPY scripts/setup.sh scripts/lib.sh scripts/
RUN scripts/setup.sh --build-only
COPY . .
RUN cargo build --release --locked -p wireglass --features dpdk \
    && strip target/release/wireglass

FROM debian:bookworm-slim
COPY scripts/setup.sh scripts/lib.sh /tmp/scripts/
RUN /tmp/scripts/setup.sh --runtime-only && rm -rf /tmp/scripts /var/lib/apt/lists/*
COPY --from=build /build/target/release/wireglass /usr/local/bin/wireglass
WORKDIR /etc/wireglass
ENTRYPOINT ["wireglass"]
CMD ["run", "-c", "/etc/wireglass/wireglass.toml"]
