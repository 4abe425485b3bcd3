package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// ecsFargate reads what the command line gives to AWS as --cli-input-json, by the
// SDK's types of the same calls, and has the SDK look for what is missing.
func ecsFargate(dir string) (*deployment, error) {
	var (
		task  ecs.RegisterTaskDefinitionInput
		serve ecs.CreateServiceInput
		group elb.CreateTargetGroupInput
		gattr elb.ModifyTargetGroupAttributesInput
		lattr elb.ModifyLoadBalancerAttributesInput
	)
	for file, to := range map[string]any{
		"task-definition.json": &task, "service.json": &serve, "target-group.json": &group,
		"target-group-attributes.json": &gattr, "load-balancer-attributes.json": &lattr,
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(to); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	ctx := context.Background()
	e := ecs.New(ecs.Options{Region: "none", HTTPClient: nobody{}, Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1})
	l := elb.New(elb.Options{Region: "none", HTTPClient: nobody{}, Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1})
	for file, call := range map[string]func() error{
		"task-definition.json":          func() error { _, err := e.RegisterTaskDefinition(ctx, &task); return err },
		"service.json":                  func() error { _, err := e.CreateService(ctx, &serve); return err },
		"target-group.json":             func() error { _, err := l.CreateTargetGroup(ctx, &group); return err },
		"target-group-attributes.json":  func() error { _, err := l.ModifyTargetGroupAttributes(ctx, &gattr); return err },
		"load-balancer-attributes.json": func() error { _, err := l.ModifyLoadBalancerAttributes(ctx, &lattr); return err },
	} {
		if err := call(); !errors.Is(err, errNobody) { // it came as far as the network
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}

	relay := task.ContainerDefinitions[0]
	env := map[string]string{}
	for _, v := range relay.Environment {
		env[*v.Name] = *v.Value
	}
	for _, v := range relay.Secrets {
		env[*v.Name] = ""
	}
	d := &deployment{env: variables(env), grace: time.Duration(*relay.StopTimeout) * time.Second}
	for _, a := range lattr.Attributes {
		if *a.Key == "idle_timeout.timeout_seconds" {
			s, err := strconv.Atoi(*a.Value)
			if err != nil {
				return nil, err
			}
			d.idle = time.Duration(s) * time.Second
		}
	}
	switch c := serve.DeploymentConfiguration; {
	case d.idle == 0:
		return nil, fmt.Errorf("the load balancer's idle timeout is not raised from 60 s")
	case *group.HealthCheckPath != "/-/ready":
		return nil, fmt.Errorf("the health check is not /-/ready")
	case *c.MinimumHealthyPercent < 100 || int(*c.MaximumPercent-100)*int(*serve.DesiredCount) > 100:
		return nil, fmt.Errorf("more than one replica would be replaced at a time")
	}
	return d, nil
}

var errNobody = errors.New("nobody is asked")

// nobody is the network.
type nobody struct{}

func (nobody) Do(*http.Request) (*http.Response, error) { return nil, errNobody }
