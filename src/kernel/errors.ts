/**
 * Every error a caller can meet, in one place: its stable code, its HTTP status, and a title.
 * The code is part of the contract with users; never change one, only add.
 */
export const errorCatalogue = {
  validation_failed: { status: 400, title: 'The request is not valid' },
  unauthenticated: { status: 401, title: 'Sign in first' },
  invalid_credentials: { status: 401, title: 'Email or password is wrong' },
  token_expired: { status: 401, title: 'The token has expired' },
  token_reused: { status: 401, title: 'The refresh token was used before' },
  forbidden: { status: 403, title: 'Not allowed' },
  tenant_required: { status: 403, title: 'Choose a tenant first' },
  tenant_suspended: { status: 403, title: 'The tenant is suspended' },
  email_not_verified: { status: 403, title: 'The email address is not verified' },
  plan_limit_reached: { status: 403, title: 'The plan does not allow more' },
  not_found: { status: 404, title: 'Not found' },
  request_timeout: { status: 408, title: 'The request took too long to arrive' },
  conflict: { status: 409, title: 'In conflict with the current state' },
  slug_taken: { status: 409, title: 'The slug is taken' },
  email_taken: { status: 409, title: 'The email address is taken' },
  already_member: { status: 409, title: 'Already a member' },
  last_admin: { status: 409, title: 'The last Admin must stay' },
  idempotency_mismatch: { status: 409, title: 'The idempotency key belongs to another request' },
  tenant_not_ready: { status: 409, title: 'The tenant is not ready yet' },
  gone: { status: 410, title: 'No longer available' },
  precondition_failed: { status: 412, title: 'Changed by somebody else meanwhile' },
  payload_too_large: { status: 413, title: 'The request body is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  headers_too_large: { status: 431, title: 'The request headers are too large' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Something went wrong on our side' },
  overloaded: { status: 503, title: 'The service is busy' },
  database_unavailable: { status: 503, title: 'The database cannot be reached' },
  provider_unavailable: { status: 503, title: 'The sign-in provider cannot be reached' },
  tenant_moving: { status: 503, title: 'The tenant is being moved' },
} as const

export type ErrorCode = keyof typeof errorCatalogue

/** One wrong field of a request: a JSON pointer and a sentence. */
export type FieldError = { path: string; message: string }

export type AppErrorOptions = {
  /** Seconds after which trying again makes sense; sent as `Retry-After`. */
  retryAfter?: number
  errors?: FieldError[]
  cause?: unknown
}

/**
 * An error the caller is meant to see. `detail` is their sentence: what happened and what to do next, with nothing
 * internal in it. What only we may know goes into `cause`, which is logged and never sent.
 */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly status: number
  readonly title: string
  readonly retryAfter: number | undefined
  readonly errors: FieldError[] | undefined

  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.status = errorCatalogue[code].status
    this.title = errorCatalogue[code].title
    this.retryAfter = options.retryAfter ?? (this.status === 503 || this.status === 429 ? 1 : undefined)
    this.errors = options.errors
  }
}

/** True when `error` is an AppError with this code. */
export const isAppError = (error: unknown, code?: ErrorCode): error is AppError =>
  error instanceof AppError && (code === undefined || error.code === code)

/**
 * A mistake of the person who starts or operates Freehold: printed as it stands, without a stack trace.
 * One line a mistake; each says what to do next.
 */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
  readonly lines: readonly string[]

  constructor(lines: string | readonly string[], cause?: unknown) {
    const all = typeof lines === 'string' ? [lines] : lines
    super(all.join('\n'), cause === undefined ? undefined : { cause })
    this.lines = all
  }
}
