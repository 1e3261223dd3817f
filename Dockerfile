# The binary is built before the image: `make image`. Nothing is pulled.
FROM scratch
COPY bin/chronik /chronik
COPY --chown=65532:65532 bin/data /data
USER 65532:65532
# Clients, peers, gossip, HTTP. By itself a container is a cluster of one, which listens for peers on its own loopback.
EXPOSE 9092 9093 7946 7946/udp 6092
VOLUME /data
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["/chronik", "health"]
ENTRYPOINT ["/chronik"]
CMD ["serve", "--data-dir", "/data", "--kafka-listen", "0.0.0.0:9092", "--kafka-advertise", "127.0.0.1:9092", "--http-listen", "0.0.0.0:6092"]
