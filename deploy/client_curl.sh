#!/bin/sh
# Asks a language model in TensorFlow Serving with curl:
#   sh client_curl.sh [HOST:PORT] [MODEL]
set -eu
server="http://${1:-localhost:8501}"
model="$server/v1/models/${2:-lm}"

# is it there, and what does it take?
curl -fsS "$model"
curl -fsS "$model/metadata" | head -c 400
echo

# rows: a list of prompts in, a list of texts out
curl -fsS -d '{"instances": ["In the beginning", "And he said"]}' "$model:predict"

# columns: another signature, whose inputs must all be sent
curl -fsS -d '{
  "signature_name": "generate",
  "inputs": {
    "prompt": ["In the beginning", "And he said"],
    "max_new_tokens": [20, 20],
    "temperature": [0.0, 0.8],
    "top_k": [0, 40],
    "top_p": [1.0, 0.95],
    "min_p": [0.0, 0.0],
    "repetition_penalty": [1.0, 1.0],
    "seed": [0, 7],
    "stop": [[""], ["."]]
  }
}' "$model:predict"

# the log-probability of a text after a prompt
curl -fsS -d '{
  "signature_name": "score",
  "instances": [{"prompt": "In the beginning", "completion": " God created"}]
}' "$model:predict"

# what Prometheus reads
curl -fsS "$server/monitoring/prometheus/metrics" | grep -c '^:tensorflow:serving'
