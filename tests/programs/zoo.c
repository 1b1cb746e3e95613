// A zoo of memory: it makes some of each kind, and says which is which. Usage: zoo THREADS [FAMILY OF THREADS' SMALL BLOCKS] [FAMILY OF BIG ONES]
//
// Says `ready PID`, then answers each line with KIND:ADDRESS pairs on one line. What the kernel does not let it make is left out.
// With the first argument `again` it starts itself once more from a memfd, as runc does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KIB 1024
#define MIB (1024 * KIB)
#define GUARD_INSTALL 102 // MADV_GUARD_INSTALL, Linux 6.13

static char data[9000] = {1};
static char bss[1 << 20];
static char truth[1 << 16];
static pthread_barrier_t made;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

struct work {
  const char *kind; // of the stack
  const char *small; // of what it allocates, NULL if nobody knows
};

static void say(const char *kind, const void *address) {
  if (address == MAP_FAILED || address == NULL) return;
  size_t used = strlen(truth);
  snprintf(truth + used, sizeof truth - used, "%s:%lx ", kind, (unsigned long)address);
}

static void *map(size_t size, int prot, int flags, int fd) {
  char *p = mmap(NULL, size, prot, flags, fd, 0);
  if (p != MAP_FAILED && (prot & PROT_WRITE)) p[0] = 1;
  return p;
}

static int sized(int fd, size_t size) {
  return fd >= 0 && ftruncate(fd, size) == 0 ? fd : -1;
}

static void *run(void *argument) {
  struct work *work = argument;
  int here = 0;
  char *block = malloc(100000);
  memset(block, 1, 100000);
  pthread_attr_t attr;
  void *low;
  size_t size, guard;
  pthread_getattr_np(pthread_self(), &attr);
  pthread_attr_getstack(&attr, &low, &size);
  pthread_attr_getguardsize(&attr, &guard);
  pthread_mutex_lock(&turn);
  say(work->kind, &here);
  if (guard) say(work->kind, (char *)low - 1);
  if (work->small) say(work->small, block);
  pthread_mutex_unlock(&turn);
  pthread_barrier_wait(&made);
  pause();
  return NULL;
}

static void shared(void) {
  int id = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
  void *segment = shmat(id, NULL, 0);
  shmctl(id, IPC_RMID, NULL);
  say("sysv-shm", segment);
  char path[64];
  snprintf(path, sizeof path, "/pmapdiff-zoo-%d", getpid());
  int fd = sized(shm_open(path, O_RDWR | O_CREAT, 0600), 64 * KIB);
  shm_unlink(path);
  if (fd >= 0) {
    say("shm", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
    say("shm", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd));
  }
  say("shm", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1));
  say("shm", map(2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1));
  int zero = open("/dev/zero", O_RDWR);
  say("shm", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, zero));
  say("anon", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero));
  fd = sized(memfd_create("zoo", 0), 64 * KIB);
  if (fd >= 0) say("memfd", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
}

static void code(void) {
  int fd = sized(memfd_create("doublemapper", 0), 64 * KIB);
  if (fd >= 0) {
    say("jit", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
    say("jit", map(64 * KIB, PROT_READ | PROT_EXEC, MAP_SHARED, fd));
  }
  say("jit", map(64 * KIB, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1));
  char *page = map(64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  mprotect(page, 8 * KIB, PROT_READ | PROT_EXEC);
  say("jit", page);
  // A code cache: used in part, the rest is a reserve.
  char *cache = mmap(NULL, 48 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(cache, MIB, PROT_READ | PROT_WRITE | PROT_EXEC);
  say("jit", cache);
  say("jit", cache + 2 * MIB);
}

static void files_and_devices(void) {
  // Not everything that is called so is a library.
  char path[] = "/tmp/zoo-XXXXXX.so";
  int fd = sized(mkstemps(path, 3), 64 * KIB);
  unlink(path);
  if (fd >= 0) {
    say("file", map(64 * KIB, PROT_READ, MAP_PRIVATE, fd));
    say("file", map(64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
  }
  char parameters[120] = {0};
  int ring = syscall(SYS_io_uring_setup, 8, parameters);
  if (ring >= 0) say("device", map(4 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, ring));
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, 128, &context) == 0) say("device", (void *)context);
}

static void stacks_of_tomorrow(void) {
  // glibc 2.43: no mapping for the guard, so that stacks merge.
  for (int i = 0; i < 3; i++) {
    char *stack = map(8196 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
    if (stack != MAP_FAILED && madvise(stack, 4 * KIB, GUARD_INSTALL) == 0) say("marked-stack", stack + 8000 * KIB);
  }
}

static void again(char **argv) {
  int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("runc_cloned:/proc/self/exe", MFD_CLOEXEC);
  char buffer[64 * KIB];
  for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
    if (write(to, buffer, n) != n) exit(1);
  fexecve(to, argv + 1, environ);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "again") == 0) again(argv);
  int threads = argc > 1 ? atoi(argv[1]) : 5, local;
  struct work usual = {"thread-stack", argc > 2 && argv[2][0] ? argv[2] : NULL}, marked = {"marked-stack", NULL};
  const char *big = argc > 3 ? argv[3] : "anon";
  say("image", data);
  say("image", bss + sizeof bss - 1);
  say("image", (void *)main);
  say("image", "constant");
  say("image", stdout);
  say("stack", &local);
  char *end = (char *)syscall(SYS_brk, 0);
  if ((char *)syscall(SYS_brk, end + 64 * KIB) == end + 64 * KIB) say("heap", end + 60 * KIB);
  shared();
  pthread_t id;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_barrier_init(&made, NULL, threads + 4);
  for (int i = 0; i < threads; i++) pthread_create(&id, NULL, run, &usual);
  pthread_attr_setstacksize(&attr, 256 * MIB);
#ifdef __GLIBC__
  for (int i = 0; i < 2; i++) pthread_create(&id, &attr, run, &usual);
#else
  // musl does not mark them, and the kernel may merge them with what is above.
  for (int i = 0; i < 2; i++) pthread_create(&id, &attr, run, &marked);
#endif
  // Larger guards than anybody has, which only the flag of the kernel makes known.
  pthread_attr_setstacksize(&attr, 64 * KIB);
  pthread_attr_setguardsize(&attr, MIB);
  pthread_create(&id, &attr, run, &marked);
  pthread_barrier_wait(&made);
  for (int i = 0; i < 3; i++) {
    char *block = malloc(40 * MIB);
    memset(block, 1, 4 * KIB);
    say(big, block + 5000);
  }
  say("anon", map(2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1));
  code();
  files_and_devices();
  stacks_of_tomorrow();
  printf("ready %d\n", getpid());
  fflush(stdout);
  char line[100];
  while (fgets(line, sizeof line, stdin)) {
    puts(truth);
    fflush(stdout);
  }
  return 0;
}
