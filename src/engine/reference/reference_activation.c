#include "reference.h"
#include <math.h>

typedef double (*Function)(double a);

static double Relu(double a)
{
  return a > 0 || isnan(a) ? a : 0;
}

static double ReluSlope(double a)
{
  return a > 0;
}

static double TanhSlope(double a)
{
  const double t = tanh(a);

  return 1 - t * t;
}

static double Sigmoid(double a)
{
  return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a));
}

static double SigmoidSlope(double a)
{
  return Sigmoid(a) * Sigmoid(-a);
}

static double Softplus(double a)
{
  return fmax(a, 0) + log1p(exp(-fabs(a)));
}

static void Apply(const Reference *r, PetscInt layer, PetscInt n, Function f)
{
  const size_t  size = (size_t)n * (size_t)CkShapeSize(r->layers[layer].out);
  const double *a = r->out[r->layers[layer].inputs[0]];

  for (size_t i = 0; i < size; ++i) r->out[layer][i] = f(a[i]);
}

static void Chain(const Reference *r, PetscInt layer, PetscInt n, Function slope)
{
  const size_t   size = (size_t)n * (size_t)CkShapeSize(r->layers[layer].out);
  const PetscInt input = r->layers[layer].inputs[0];

  for (size_t i = 0; i < size; ++i) r->delta[input][i] += r->delta[layer][i] * slope(r->out[input][i]);
}

#define ACTIVATION(symbol, layer_type, function, slope)                                                                \
  static PetscErrorCode Forward##symbol(CkEngine engine, PetscInt layer, PetscInt n)                                   \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    Apply((const Reference *)engine->data, layer, n, function);                                                        \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
  static PetscErrorCode Backward##symbol(CkEngine engine, PetscInt layer, PetscInt n)                                  \
  {                                                                                                                    \
    PetscFunctionBeginUser;                                                                                            \
    Chain((const Reference *)engine->data, layer, n, slope);                                                           \
    PetscFunctionReturn(PETSC_SUCCESS);                                                                                \
  }                                                                                                                    \
  const ReferenceKind Reference##symbol = {layer_type, Forward##symbol, Backward##symbol, NULL}

ACTIVATION(Relu, CK_LAYER_RELU, Relu, ReluSlope);
ACTIVATION(Tanh, CK_LAYER_TANH, tanh, TanhSlope);
ACTIVATION(Sigmoid, CK_LAYER_SIGMOID, Sigmoid, SigmoidSlope);
ACTIVATION(Softplus, CK_LAYER_SOFTPLUS, Softplus, Sigmoid);
