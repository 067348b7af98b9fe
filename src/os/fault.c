/* fault.c - see fault.h. */
#include <signal.h>
#include <ucontext.h>

#include "base/atomic.h"
#include "os/fault.h"

static void (*tell)(const struct lab_os_fault *fault);

static void
handle(int number, siginfo_t *info, void *context)
{
	const mcontext_t *machine = &((const ucontext_t *)context)->uc_mcontext;
	struct lab_os_fault fault = {.address = (uintptr_t)info->si_addr};
	struct sigaction by_default = {0};

#if defined(__x86_64__)
	fault.pc = (uintptr_t)machine->gregs[REG_RIP];
	fault.frame = (uintptr_t)machine->gregs[REG_RBP];
#elif defined(__aarch64__)
	fault.pc = machine->pc;
	fault.frame = machine->regs[29];
#endif
	by_default.sa_handler = SIG_DFL;
	(void)sigaction(number, &by_default, NULL);
	if (info->si_code > 0) /* of the kernel's: the instruction is executed again */
		tell(&fault);
	else /* somebody has sent it */
		(void)raise(number);
}

void
lab_os_on_fault(void (*told)(const struct lab_os_fault *fault))
{
	struct sigaction before, action = {0};

	if (sigaction(SIGSEGV, NULL, &before) != 0 || before.sa_flags & SA_SIGINFO || before.sa_handler != SIG_DFL)
		return;
	tell = told;
	action.sa_sigaction = handle;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	(void)sigaction(SIGSEGV, &action, NULL);
}
