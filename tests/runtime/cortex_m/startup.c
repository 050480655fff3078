/* What a Cortex-M needs before main: its vector table, the floating-point unit switched on, then newlib's start. */
#include <stdint.h>

extern uint32_t __StackTop;
extern void _start(void);
void reset(void);
void _init(void);
void _fini(void);

void reset(void)
{
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to the FPU */
  __asm volatile("dsb\n isb");
  _start();
}

/* newlib calls them around main. */
void _init(void) {}
void _fini(void) {}

static void hang(void)
{
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)&__StackTop, (uintptr_t)reset, (uintptr_t)hang, (uintptr_t)hang, (uintptr_t)hang, (uintptr_t)hang,
    (uintptr_t)hang};
