-- Whether the roll-up has anything of an hour.
SELECT
    (SELECT count() FROM {database}.quality_hourly WHERE project = {project:String} AND hour = toDateTime({hour:UInt32} * 3600, 'UTC'))
    + (SELECT count() FROM {database}.quality_units WHERE project = {project:String} AND hour = toDateTime({hour:UInt32} * 3600, 'UTC'))
