/** True when Postgres refused a row because of this unique constraint or index (SQLSTATE 23505). */
export const isUniqueViolation = (error: unknown, constraint: string): boolean => {
  const { code, constraint: broken } = (error ?? {}) as { code?: unknown; constraint?: unknown }
  return code === '23505' && broken === constraint
}

/** True when Postgres refused to delete a row because others still name it, or to write one that names nothing (23503). */
export const isForeignKeyViolation = (error: unknown, constraint?: string): boolean => {
  const { code, constraint: broken } = (error ?? {}) as { code?: unknown; constraint?: unknown }
  return code === '23503' && (constraint === undefined || broken === constraint)
}
