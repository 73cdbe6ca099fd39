#!/bin/sh
# Make what the SAM, CDK and Terraform examples upload: dist/snapext-layer.zip and dist/fastapi-app.zip.
# Needs the snapext command (pip install . in the root of the repository) and python3 with pip.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p dist
package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT

# Compiled for the function's Python where this machine has it: the extension starts some 10 ms sooner then.
if python3.12 -c '' 2>/dev/null; then set -- --precompile python3.12; fi
snapext layer build --force "$@" -o dist/snapext-layer.zip

# Wheels for the function's Python and processor, whatever this machine has.
python3 -m pip install --quiet --disable-pip-version-check --target "$package" --requirement examples/infra/requirements.txt \
  --python-version 3.12 --platform manylinux2014_x86_64 --only-binary=:all:
cp examples/fastapi_app/app.py examples/infra/sam/run.sh "$package"
chmod 755 "$package/run.sh" # the handler is a program; the zip keeps its mode

rm -f dist/fastapi-app.zip
(cd "$package" && python3 -m zipfile -c "$OLDPWD/dist/fastapi-app.zip" .)
echo "dist/fastapi-app.zip: the app with its packages, and run.sh"
