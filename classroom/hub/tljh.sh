#!/usr/bin/env bash
# Install the course for all users of The Littlest JupyterHub: as root, in the course's folder on the server.
set -euo pipefail
cd "$(dirname "$0")/../.."

course=/opt/slicewise shared=/srv/slicewise python=/opt/tljh/user/bin/python
memory_gb=3   # for each user, see the guide

command -v bwrap >/dev/null || apt-get install -y bubblewrap        # the sandbox in which teachers grade
mkdir -p "$course" "$shared/data" "$shared/exchange"
cp -r -- assets classroom constraints.txt data_fetchers helpers jupytext.toml lessons LICENSE README.md pyproject.toml "$course"
cd "$course"
$python -m pip install -c constraints.txt -e ".[classroom]"
# The simulated data, which all lessons use; whoever wants the published ones fetches them.
SLICEWISE_SOURCE=bundled SLICEWISE_DATA=$shared/data $python -m data_fetchers get --all

# Compiled once: here for the sandbox, and for all users, who cannot write here, in what they begin with.
$python -m helpers.registration.fast
NUMBA_CACHE_DIR=/etc/skel/.cache/numba $python -m helpers.registration.fast
# Each user begins with a copy of the lessons, too.
mkdir -p /etc/skel/slicewise
cp "$course"/lessons/[0-9]*.md "$course"/lessons/glossary.md "$course"/jupytext.toml /etc/skel/slicewise

# In the exchange everybody may put things, and take away only their own.
chmod -R a+rX,go-w "$course" "$shared/data" /etc/skel
chmod 1777 "$shared/exchange"
# The hub's settings, and what is told to everybody's JupyterLab: of nbgrader, learners see their assignments.
cp "$course/classroom/hub/jupyterhub_config.py" /opt/tljh/config/jupyterhub_config.d/slicewise.py
cp -r "$course/classroom/hub/etc/." /opt/tljh/user/etc/jupyter
echo 'PATH=/opt/tljh/user/bin:$PATH' > /etc/profile.d/slicewise.sh   # which some systems forget in terminals
tljh-config set limits.memory "${memory_gb}G"
tljh-config set user_environment.default_app jupyterlab
tljh-config reload
