# Everyday commands; `just` lists them.

default:
    @just --list

# Everything the pipeline runs
ci:
    .ci/run

# Format, lints
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The whole test suite
test:
    cargo test --workspace

# The official Java client's conformance cases against our daemons
interop *ARGS:
    tests/interop {{ARGS}}

# SQL92 conditions, judged by Apache RocketMQ's own parser and by ours
filters *ARGS:
    tests/filters {{ARGS}}

# mqadmin's commands against our daemons
mqadmin *ARGS:
    tests/mqadmin {{ARGS}}

# One store directory, Apache RocketMQ's broker and ours in turn
exchange *ARGS:
    tests/exchange {{ARGS}}

# A name server and a broker on the usual ports; prints the directory that `just down` wants
up *ARGS:
    tests/up {{ARGS}}

down DIR:
    tests/down {{DIR}}

# The registration application with an embedded cluster
demo *ARGS:
    cargo run --release --bin registration -- {{ARGS}}

# Licences, advisories and sources of the dependencies (cargo install --locked cargo-deny)
deny:
    cargo deny check

# The container image of all binaries
image:
    docker build --file deploy/Dockerfile --tag orbitmq .
