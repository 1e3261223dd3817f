# The binary is built before the image: `make image`. Nothing is pulled.
FROM scratch
COPY bin/chronik /chronik
COPY --chown=65532:65532 bin/data /data
USER 65532:65532
EXPOSE 9092 6092
VOLUME /data
ENTRYPOINT ["/chronik"]
CMD ["serve", "--data-dir", "/data", "--kafka-listen", "0.0.0.0:9092", "--kafka-advertise", "127.0.0.1:9092", "--http-listen", "0.0.0.0:6092"]
