"""Recording for months: the crontab entry and the systemd units that run `pmapdiff record`."""
