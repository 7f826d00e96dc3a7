# The same image as `make image` writes, for those who build with Docker, Podman or BuildKit:
#   docker build --tag holdfast .
# The program, the libraries that it names, four small files. No shell, no package manager, no root.

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ccache libclang-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG REVISION=unknown
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/root/.cache/ccache --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --workspace --locked --bin holdfast --bin holdfast-image \
    && target/release/holdfast-image --out /image --root /image/root

FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="An ordered key-value store whose unit of failure is a whole site" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/root/ /
USER 65532:65532
STOPSIGNAL SIGTERM
EXPOSE 7300 7400 7401 7500
ENTRYPOINT ["/holdfast"]
