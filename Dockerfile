# The image of Rayward: one program on a base that has CA certificates and no shell.
#
#     docker build -t rayward .            (or podman, or buildah)
#
# `--build-arg PROFILE=dev` builds in a third of the time, for trying things out.

FROM docker.io/library/rust:1.95-bookworm AS build
ARG PROFILE=release
WORKDIR /rayward

# The dependencies are a layer of their own, which stays until Cargo.lock changes: they take nearly all of the time.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' >src/main.rs \
    && cargo build --locked --profile "$PROFILE" && rm -r src

# Cargo goes by the age of a file, and the ones just built are younger than the real ones may be.
COPY src src
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" \
    && cp "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/rayward" /rayward/rayward

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="rayward" \
      org.opencontainers.image.description="A Kubernetes controller that makes Ray clusters true on AWS" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rayward/rayward /usr/local/bin/rayward
# The user "nonroot" of the base, by number: Kubernetes can only hold a number against runAsNonRoot.
USER 65532:65532
# By default they are served on loopback, where no probe of a pod comes.
ENV RAYWARD_ADMIN_ADDRESS=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/rayward"]
CMD ["run"]
