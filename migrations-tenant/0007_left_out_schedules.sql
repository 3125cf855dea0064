-- expand: since when a schedule's times are left out because the plan allows no job, so that the audit log says it once

alter table job_schedules add column left_out_since timestamptz;
