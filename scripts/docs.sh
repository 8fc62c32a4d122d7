#!/usr/bin/env bash
# Builds the documents as a web site and checks every link. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/docs.sh [--out FOLDER]

Builds a web site from README.md, docs/ and the other documents, with mdBook (scripts/setup.sh --docs builds it). Then it
checks the site: every page of docs/ is in docs/SUMMARY.md, every link and anchor leads somewhere, and no page loads
anything from elsewhere. Links to other sites are not followed.

  --out FOLDER  where the site goes; an existing folder is replaced (default: target/book/html)
  --help        this text

Prints one line for each fault. Exit status 0 if there is none. Then open target/book/html/index.html.
EOF
}

out=
while (($#)); do
    case $1 in
    --out)
        [[ -n ${2:-} ]] || usage_error "--out wants a folder"
        out=$2
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
done

"$root/scripts/setup.sh" --docs --quiet
exec_lab book --mdbook "$tools/bin/mdbook" --out "${out:-$root/target/book/html}"
