#!/usr/bin/env bash
# Runs the broker, and the store that keeps its topics, messages and commits in the folder of Kafka's data. It reads two
# of the variables of the image apache/kafka: KAFKA_ADVERTISED_LISTENERS and KAFKA_LOG_DIRS. Both end when either does.
set -euo pipefail

advertised=${KAFKA_ADVERTISED_LISTENERS:-PLAINTEXT://localhost:9092}
data=${KAFKA_LOG_DIRS:-/var/lib/kafka/data}
bucket=tansu
port=8333

put() { # a bucket or an object; it is there already: 409
  local status
  exec {store_socket}<>"/dev/tcp/127.0.0.1/$port" || return
  printf 'PUT %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s' "$1" "${#2}" "$2" >&"$store_socket"
  read -r _ status _ <&"$store_socket" || status=none
  exec {store_socket}>&-
  [[ $status == 200 || $status == 409 ]]
}

# Nobody but this container reaches the store, which therefore asks for no keys.
cd "$data"
GOMEMLIMIT=300MiB WEED_MASTER_VOLUME_GROWTH_COPY_1=1 weed -logtostderr=true -v=-1 server -dir="$data" -ip=127.0.0.1 \
  -ip.bind=127.0.0.1 -master.peers=none -master.telemetry=false -master.volumeSizeLimitMB=512 -volume.max=0 \
  -filer -s3 -s3.port="$port" -s3.port.iceberg=0 -s3.port.lance=0 &
store=$!
broker=$store
trap 'kill "$broker"' TERM INT

until { put "/$bucket" '' && put "/$bucket/up" 1; } 2>/dev/null; do
  kill -0 "$store"
  sleep 0.1
done

AWS_ENDPOINT=http://127.0.0.1:$port AWS_ALLOW_HTTP=true AWS_DEFAULT_REGION=us-east-1 \
  AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any \
  tansu broker --listener-url tcp://0.0.0.0:9092 --advertised-listener-url "tcp://${advertised#*://}" \
  --storage-engine "s3://$bucket/" &
broker=$!

code=0
wait -n "$store" "$broker" || code=$?
trap - TERM INT
{ kill "$broker" && wait "$broker"; } 2>/dev/null || true
kill -KILL "$store" 2>/dev/null || true # what it said to have is on the disk; ending by itself takes it half a minute
exit "$code"
