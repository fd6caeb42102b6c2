/*
 * pam/attempt.c - one attempt, through PAM: authentication and account, with
 * the password that the client gave as the answer to every hidden question.
 *
 * Runs in: pam's children, as root with CAP_AUDIT_WRITE alone, one attempt
 * each.  What a module does with it is the module's; nobody else's password
 * is in this process.
 */
#include <stdlib.h>
#include <string.h>

#include <security/pam_appl.h>

#include "pam/attempt.h"

#define PAM_TTY_NAME  "flexmusic" /* where a module wants one */
#define PAM_NOBODY    "?" /* no user of any system */
#define PAM_QUESTIONS 16 /* of one conversation */

/* What names of a system's users are made of, those of a directory
 * (name@domain, DOMAIN\name) too. */
static bool
pam_name_possible(const uint8_t *name, size_t len)
{
	static const char other[] = "._-@\\+$";
	size_t i;

	if (len == 0 || name[0] == '-' || name[0] == '+' || name[0] == '.')
		return false;
	for (i = 0; i < len; i++) {
		const uint8_t c = name[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9'))
			continue;
		if (c == 0 || strchr(other, c) == NULL)
			return false;
	}
	return true;
}

void
pam_question_set(struct pam_question *q, const uint8_t *user, size_t user_len,
    const uint8_t *password, size_t password_len, const char *address)
{
	size_t i;

	memset(q, 0, sizeof(*q));
	q->possible = pam_name_possible(user, user_len) && password_len > 0;
	if (q->possible)
		memcpy(q->user, user, user_len);
	else
		strlcpy(q->user, PAM_NOBODY, sizeof(q->user));
	for (i = 0; i < password_len; i++) {
		q->password[i] = password[i] == 0 ? 1 : (char)password[i];
		if (password[i] == 0)
			q->possible = false;
	}
	strlcpy(q->address, address, sizeof(q->address));
}

/* libpam frees the answers. */
static int
pam_converse(int count, const struct pam_message **questions,
    struct pam_response **answers, void *arg)
{
	const struct pam_question *q = arg;
	struct pam_response *r;
	int i;

	if (count < 1 || count > PAM_QUESTIONS)
		return PAM_CONV_ERR;
	r = calloc((size_t)count, sizeof(*r));
	if (r == NULL)
		return PAM_BUF_ERR;
	for (i = 0; i < count; i++) {
		if (questions[i]->msg_style == PAM_TEXT_INFO ||
		    questions[i]->msg_style == PAM_ERROR_MSG)
			continue;
		if (questions[i]->msg_style == PAM_PROMPT_ECHO_OFF)
			r[i].resp = strdup(q->password);
		if (r[i].resp == NULL)
			break;
	}
	if (i == count) {
		*answers = r;
		return PAM_SUCCESS;
	}
	while (i-- > 0)
		if (r[i].resp != NULL)
			freezero(r[i].resp, strlen(r[i].resp));
	free(r);
	return PAM_CONV_ERR;
}

/* In place of libpam's delay after a failure: ours holds no slot. */
static void
pam_no_delay(int result, unsigned microseconds, void *arg)
{
}

/* What a result means for the client, and for the attempt's count. */
static enum pam_answer
pam_answer_of(int result)
{
	switch (result) {
	case PAM_SUCCESS:
		return PAM_ANSWER_RIGHT;
	case PAM_OPEN_ERR:
	case PAM_SYMBOL_ERR:
	case PAM_SERVICE_ERR:
	case PAM_SYSTEM_ERR:
	case PAM_BUF_ERR:
	case PAM_ABORT:
	case PAM_MODULE_UNKNOWN:
	case PAM_CONV_ERR:
	case PAM_AUTHINFO_UNAVAIL:
		return PAM_ANSWER_ERROR;
	default:
		return PAM_ANSWER_WRONG;
	}
}

enum pam_answer
pam_ask(struct pam_question *q)
{
	static void (*const delay)(int, unsigned, void *) = pam_no_delay;
	const struct pam_conv conversation = { pam_converse, q };
	pam_handle_t *h = NULL;
	enum pam_answer answer;
	const void *delay_item;
	int result;

	memcpy(&delay_item, &delay, sizeof(delay_item));
	result = pam_start(PAM_SERVICE_NAME, q->user, &conversation, &h);
	if (result == PAM_SUCCESS)
		result = pam_set_item(h, PAM_FAIL_DELAY, delay_item);
	if (result == PAM_SUCCESS)
		result = pam_set_item(h, PAM_TTY, PAM_TTY_NAME);
	if (result == PAM_SUCCESS && q->address[0] != '\0')
		result = pam_set_item(h, PAM_RHOST, q->address);
	if (result == PAM_SUCCESS)
		result =
		    pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	/* An expired password can't be changed here: it lets nobody in. */
	if (result == PAM_SUCCESS)
		result =
		    pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	answer = pam_answer_of(result);
	if (answer == PAM_ANSWER_RIGHT && !q->possible)
		answer = PAM_ANSWER_WRONG;
	explicit_bzero(q, sizeof(*q));
	if (h != NULL)
		(void)pam_end(h, result);
	return answer;
}

bool
pam_service_works(void)
{
	struct pam_question nobody = { .user = PAM_NOBODY };
	const struct pam_conv conversation = { pam_converse, &nobody };
	pam_handle_t *h = NULL;
	int result =
	    pam_start(PAM_SERVICE_NAME, nobody.user, &conversation, &h);

	if (h != NULL)
		(void)pam_end(h, result);
	return result == PAM_SUCCESS;
}
