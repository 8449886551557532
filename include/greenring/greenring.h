/* greenring/greenring.h - the core: everything that most programs need. */
#ifndef GRING_GREENRING_H
#define GRING_GREENRING_H
#include <greenring/base.h>
#include <greenring/chan.h>
#include <greenring/hub.h>
#include <greenring/io.h>
#include <greenring/local.h>
#include <greenring/net.h>
#include <greenring/pool.h>
#include <greenring/scope.h>
#include <greenring/sync.h>
#include <greenring/task.h>
#include <greenring/time.h>
#endif
