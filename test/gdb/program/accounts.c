/* What the transcripts walk through: deposits to four accounts, one of which is spoilt. */
struct account {
  char name[8];
  long balance;
};

struct account accounts[4] = {{"anna"}, {"bert"}, {"cora"}, {"dora"}};
long sums;
volatile long ticks;

static void deposit(struct account *account, long amount)
{
  account->balance += amount;
}

static long total(int count)
{
  long sum = 0;
  for (int i = 0; i < count; i++)
    sum += accounts[i].balance;
  return sum;
}

static void serve(int customers)
{
  for (int customer = 0; customer < customers; customer++) {
    struct account *account = &accounts[customer % 4];
    long amount = customer * 10;
    deposit(account, amount);
  }
}

void work_alone(void)
{
  serve(10);
  accounts[2].balance = -1;
  sums = total(4);
}

void work_disturbed(void)
{
  long last = ticks + 3;
  while (ticks < last) sums += 2;
  sums = total(4);
}
