#!/usr/bin/env bash
# Install the course for all users of The Littlest JupyterHub: as root, in the course's folder on the server.
set -euo pipefail
cd "$(dirname "$0")/../.."

course=/opt/slicewise data=/srv/slicewise
memory_gb=3   # for each user, see the guide

mkdir -p "$course" "$data"
cp -r -- assets classroom constraints.txt data_fetchers helpers jupytext.toml lessons LICENSE README.md pyproject.toml "$course"
cd "$course"
/opt/tljh/user/bin/python -m pip install -c constraints.txt -e .
/opt/tljh/user/bin/python -m helpers.registration.fast            # compiled once, for all
SLICEWISE_DATA=$data /opt/tljh/user/bin/python -m data_fetchers get --all
chmod -R a+rX,go-w "$course" "$data"

# Each user begins with a copy of the lessons, and reads the data from the shared folder.
cat > /opt/tljh/config/jupyterhub_config.d/slicewise.py <<EOF
c.Spawner.environment.update({"SLICEWISE_DATA": "$data"})
EOF
mkdir -p /etc/skel/slicewise
cp "$course"/lessons/[0-9]*.md "$course"/lessons/glossary.md "$course"/jupytext.toml /etc/skel/slicewise
tljh-config set limits.memory "${memory_gb}G"
tljh-config set user_environment.default_app jupyterlab
tljh-config reload
