# The image of the gateway, the controller and the built-in functions: one static binary; the worker alone, which pods of
# other images get; and the certificate authorities by which the gateway knows an object store.
#
#   docker build --tag registry.example/windlass:0.1.0 .
#
# Crates and what they compile to stay in the builder's cache (BuildKit, podman and buildah have one). Of the source all is
# compiled each time: cargo tells what is new by the times of files, which may be those of another checkout.
# tests/install/image builds and installs it. Without a container engine, tests/cluster/image makes the same from a binary
# that is there.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    export CARGO_TARGET_DIR=/target/$(uname -m) WINDLASS_CACHE=/target/$(uname -m)/tools \
 && find . -type f -exec touch {} + \
 && packaging/cargo build --release --locked --workspace --bin windlass --bin misbehave \
 && packaging/cargo build --profile worker --locked --package windlass-worker \
 && mkdir /out && cd "$CARGO_TARGET_DIR"/*/release \
 && cp windlass misbehave ../worker/windlass-worker /out/ && strip /out/windlass

# For the tests of a cluster: the function that fails in every way as well.
FROM scratch AS test
COPY --from=build /out/ /usr/local/bin/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["windlass"]

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Windlass" \
      org.opencontainers.image.description="A compute server for few, expensive, parallel requests" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/windlass /out/windlass-worker /usr/local/bin/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["windlass"]
