/*
 * pam/attempt.h - one attempt, through PAM: the whole life of a child.
 *
 * Runs in: pam's children, as root with CAP_AUDIT_WRITE alone.
 */
#ifndef PAM_ATTEMPT_H
#define PAM_ATTEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "privsep/message.h"

#define PAM_SERVICE_NAME "flexmusic" /* /etc/pam.d/flexmusic */

/* What PAM is asked: strings. */
struct pam_question {
	char user[AUTH_USER_MAX + 1];
	char password[AUTH_PASSWORD_MAX + 1];
	char address[AUTH_ADDRESS_MAX];
	bool possible; /* false: no answer of PAM's lets this one in */
};

/* What a child says, in one byte; that of a child which was killed, or ended
 * in any other way, does not come. */
enum pam_answer {
	PAM_ANSWER_RIGHT,
	PAM_ANSWER_WRONG,
	PAM_ANSWER_ERROR, /* a service that can't be used, no memory */
	PAM_ANSWERS
};

/*
 * Makes a question of what a client gave, as strings of the same length (a
 * NUL is no part of a string).  What no user of a system can be called, and
 * what can be nobody's password, is not possible, and is asked all the same:
 * as late, and logged by PAM as any other.
 */
void
pam_question_set(struct pam_question *q, const uint8_t *user, size_t user_len,
    const uint8_t *password, size_t password_len, const char *address);

/* Asks PAM: may this user, with this password, from this address?  The
 * modules may take any time and may end the process. */
enum pam_answer pam_ask(struct pam_question *q);

/* Whether libpam finds the service and every module of it. */
bool pam_service_works(void);

#endif
