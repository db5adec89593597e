# The image of the gateway, the controller and the built-in functions: one static binary; the worker alone, which pods of
# other images get; and the certificate authorities by which the gateway knows an object store.
# Without a container engine, tests/cluster/image makes the same from the same binary.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --bins --workspace \
 && mkdir /out && cp target/*/release/windlass target/*/release/windlass-worker target/*/release/misbehave /out/ \
 && strip /out/windlass-worker

# For the tests of a cluster: the function that fails in every way as well.
FROM scratch AS test
COPY --from=build /out/ /usr/local/bin/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["windlass"]

FROM scratch
COPY --from=build /out/windlass /out/windlass-worker /usr/local/bin/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["windlass"]
