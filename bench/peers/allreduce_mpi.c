// MPI_Allreduce of f32 numbers, timed: for each count of the arguments, the seconds of each repetition on rank 0.
// mpicc -O2 allreduce_mpi.c -o allreduce_mpi; mpirun -n 2 ./allreduce_mpi TIMES COUNT...
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, size;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int times = atoi(argv[1]);
  for (int a = 2; a < argc; a++) {
    long count = atol(argv[a]);
    float *data = malloc(sizeof(float) * count);
    for (long i = 0; i < count; i++) data[i] = 1;
    if (rank == 0) printf("%ld", count);
    for (int i = 0; i < times + 1; i++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double started = MPI_Wtime();
      MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
      double seconds = MPI_Wtime() - started;
      if (i > 0 && rank == 0) printf(" %.9f", seconds);
      for (long k = 0; k < count; k++) data[k] /= size;
    }
    if (rank == 0) printf("\n");
    if (data[count - 1] != 1) MPI_Abort(MPI_COMM_WORLD, 1);
    free(data);
  }
  MPI_Finalize();
  return 0;
}
