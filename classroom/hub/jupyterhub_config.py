"""What the course needs of a JupyterHub on one server; the files in ``etc`` belong to it, see ``tljh.sh``."""

c = get_config()  # noqa: F821

# Nobody but root may write there: made once for all, the data are the same for everybody.
c.Spawner.environment.update({"SLICEWISE_DATA": "/srv/slicewise/data"})
